"""Columns of categories: independent categorical distributions, p(x) = ∏_j p_j(x_j), one of each column a component.

A category stands in an example as one entry of 1 among 0s, see :class:`zoo.spec.Column`. Given the component, columns
are independent of each other and of the columns of numbers, so that a hidden one just drops out.

A category has been imagined ``alpha`` times in each component before anything is seen (Laplace's rule of succession):
p = (n_c + α) / Σ_c' (n_c' + α) is the largest of the likelihood times ∏ p_c^α, a Dirichlet prior. That product is what
EM never decreases; as α goes to 0 it is the likelihood itself. The estimates are scikit-learn's ``CategoricalNB``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.spec import DataSpec


def whole(observed: Tensor, spec: DataSpec) -> Tensor:
    """What is seen, bool ``(B, C, H, W)``, where a column of categories of which an entry is hidden is hidden whole."""
    seen = observed.clone()
    for places in spec.categories:
        seen[..., places] = observed[..., places].all(-1, keepdim=True)
    return seen


class Columns(nn.Module):
    """Which entries of rows ``(…, W)`` are numbers, N of them, and which those of columns of categories, E of them."""

    numbers: Tensor
    entries: Tensor
    order: Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.widths = [places.stop - places.start for places in spec.categories]
        entries = [entry for places in spec.categories for entry in range(places.start, places.stop)]
        for name, values in (("numbers", spec.numbers), ("entries", entries)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)
        self.register_buffer("order", torch.cat([self.numbers, self.entries]).argsort(), persistent=False)

    def parts(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers ``(…, N)`` and the entries of categories ``(…, E)`` of rows, or of what is seen."""
        return values[..., self.numbers], values[..., self.entries]

    def joined(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Rows of their :meth:`parts`."""
        return torch.cat([numbers, categories], -1)[..., self.order]

    def normalised(self, logits: Tensor) -> Tensor:
        """log p of each category, of logits ``(…, E)``, in nats."""
        return torch.cat([logits[..., :0], *(F.log_softmax(part, -1) for part in self._columns(logits))], -1)

    def drawn(self, log_p: Tensor, generator: torch.Generator | None) -> Tensor:
        """Categories ``(…, E)`` of that probability, one entry of 1 among zeros a column."""
        drawn = [log_p[..., :0]]
        for part in self._columns(log_p.exp()):
            flat = part.flatten(0, -2)
            chosen = torch.multinomial(flat, 1, generator=generator)[:, 0] if len(flat) else flat[:, 0].long()
            drawn.append(F.one_hot(chosen, part.shape[-1]).to(part.dtype).view_as(part))
        return torch.cat(drawn, -1)

    def _columns(self, values: Tensor) -> tuple[Tensor, ...]:
        return values.split(self.widths, -1) if self.widths else ()


class Categories(Columns):
    """The distributions of all columns of categories of a table, for each of some components.

    Args:
        spec: the data, of ``"mixed"`` values.
        *components: how many there are, of one or more dimensions ``...``.

    Attributes:
        logits: log p up to a constant a column, ``(..., E)``.
    """

    def __init__(self, spec: DataSpec, *components: int) -> None:
        super().__init__(spec)
        self.logits = nn.Parameter(torch.zeros(*components, len(self.entries)))

    def log_p(self) -> Tensor:
        """log p of each category, ``(..., E)``, in nats."""
        return self.normalised(self.logits)

    def log_prob(self, categories: Tensor, log_p: Tensor | None = None) -> Tensor:
        """log p of what is seen of ``categories`` ``(B, E)``, 0 where a column is hidden: ``(B, ...)``, by all
        components or those whose ``log_p`` ``(..., E)`` is given."""
        return torch.tensordot(categories, self.log_p() if log_p is None else log_p, ([1], [-1]))

    @torch.no_grad()
    def maximize(self, counts: Tensor, alpha: float, of: int | slice = slice(None)) -> None:
        """Set the probabilities of the components ``of`` by how often each category occurs in them, ``(..., E)``."""
        self.logits[of] = (counts + alpha).log().to(self.logits.dtype)

    def draw(self, of: Tensor, generator: torch.Generator | None) -> Tensor:
        """Categories ``(n, E)`` of the components ``of`` ``(n,)``, counted through all dimensions."""
        return self.drawn(self.log_p().flatten(0, -2)[of], generator)
