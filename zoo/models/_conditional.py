"""What all generative models share: classes that images belong to, or none, and their prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.models._model import Model
from zoo.spec import DataSpec


class Generative(Model):
    """Base of the models of p(x, y) = p(y) p(x | y), or of p(x) alone.

    Args:
        spec: the data.
        conditional: whether there are classes.

    Attributes:
        groups: how many distributions of images there are: one a class, or one.
        log_prior: log p(y), ``(K,)``; None where there are no classes.
        partly_labelled: which of the methods that training calls, ``statistics`` and ``terms``, take images whose class
            is hidden, too, where there are classes: their label is negative.
    """

    log_prior: Tensor | None
    partly_labelled: tuple[str, ...] = ()
    option = "conditional"  # of the constructor, whose being false means that there are no classes

    def __init__(self, spec: DataSpec, conditional: bool) -> None:
        super().__init__()
        self.spec = spec
        self.groups = spec.num_classes if conditional else 1
        self.register_buffer("log_prior", torch.full((self.groups,), -math.log(self.groups)) if conditional else None)

    def draw_groups(self, n: int, labels: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """The groups of ``n`` images to sample, ``(n,)`` int64: ``labels`` if given, else drawn from p(y).

        Raises ``ZooError`` where labels are given to a model without classes, or not ``n`` of them.
        """
        device = next(tensor.device for tensor in [*self.parameters(), *self.buffers()])
        if labels is not None:
            self.require_classes()
            if labels.shape != (n,) or (n and not 0 <= int(labels.min()) <= int(labels.max()) < self.groups):
                raise ZooError(f"labels must be {n} whole numbers from 0 to {self.groups - 1}")
            return labels.to(device)
        if self.log_prior is None:
            return torch.zeros(n, dtype=torch.long, device=device)
        return torch.multinomial(self.log_prior.exp(), max(n, 1), replacement=True, generator=generator)[:n]

    def set_prior(self, counts: Tensor) -> None:
        """log p(y) from the number of images of each class, ``(K,)``; a class without images gets probability zero."""
        if self.log_prior is not None:
            self.log_prior.copy_((counts / counts.sum()).log())

    def require_classes(self) -> None:
        """Raise ``ZooError`` where the model has no classes."""
        if self.log_prior is None:
            raise ZooError(f"this model knows no classes ({self.option}=false): it takes no labels")
