"""What generative models share: classes and their prior, what follows from a density, what follows from a latent.

:class:`Density` and :class:`Latent` are independent of each other: a mixture is the one, a generative adversarial
network the other, a variational autoencoder both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from zoo.base.available import available_if
from zoo.base.memory import at_once, in_parts
from zoo.base.model import Model
from zoo.errors import ZooError
from zoo.spec import DataSpec, Likelihood

Batches = Iterable[tuple[Tensor, Tensor]]
AT_ONCE = 512  # examples that are decoded at a time, at most


def has_classes(model: Model) -> bool:
    """Whether a model is one of p(x, y), and neither of p(x) alone nor of p(y | x)."""
    return isinstance(model, Generative) and model.log_prior is not None


class Generative(Model):
    """Base of the models of p(x, y) = p(y) p(x | y), or of p(x) alone.

    >>> import zoo
    >>> isinstance(zoo.create("dcgan"), zoo.Generative), isinstance(zoo.create("cnn"), zoo.Generative)
    (True, False)

    A subclass that is trained by gradient (``learner=likelihood`` of densities, else ``learner=objective``) defines
    ``losses(x, labels, epoch)``, the criterion ``loss`` and what else is to be logged, means of a batch by name; and
    ``validate(x, labels)``, values by name with a row an example, of others than densities ``loss`` among them. A
    :class:`Density` has both.

    Args:
        spec: the data.
        conditional: whether there are classes, if the data has more than one.

    Attributes:
        groups: how many distributions of examples there are: one a class, or one.
        log_prior: log p(y), ``(K,)``; None where there are no classes.
        partly_labelled: which of the methods that training calls, ``statistics`` and ``losses``, take examples whose
            class is hidden, too, where there are classes: their label is negative.
        needs_classes: whether there is nothing to learn where the data has one class alone.
    """

    log_prior: Tensor | None
    partly_labelled: tuple[str, ...] = ()
    needs_classes = False
    option = "conditional"  # of the constructor, whose being false means that there are no classes

    def __init__(self, spec: DataSpec, conditional: bool) -> None:
        super().__init__()
        if self.needs_classes and spec.num_classes == 1:
            raise ValueError(f"it tells classes apart, and the data has one alone, {spec.class_names[0]}")
        self.spec = spec
        conditional = conditional and spec.num_classes > 1
        self.groups = spec.num_classes if conditional else 1
        self.register_buffer("log_prior", torch.full((self.groups,), -math.log(self.groups)) if conditional else None)

    def draw_groups(self, n: int, labels: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """The groups of ``n`` examples to sample, ``(n,)`` int64: ``labels`` if given, else drawn from p(y).

        Raises ``ZooError`` where labels are given to a model without classes, or not ``n`` of them.
        """
        if labels is not None:
            return self.checked_labels(labels, n).to(self.device)
        if self.log_prior is None:
            return torch.zeros(n, dtype=torch.long, device=self.device)
        return torch.multinomial(self.log_prior.exp(), max(n, 1), replacement=True, generator=generator)[:n]

    def set_prior(self, counts: Tensor) -> None:
        """log p(y) from the number of examples of each class, ``(K,)``; one without examples gets probability zero."""
        if self.log_prior is not None:
            self.log_prior.copy_((counts / counts.sum()).log())

    def count_classes(self, batches: Batches) -> None:
        """log p(y) from labels; hidden ones, which are negative, count in none."""
        if self.log_prior is not None:
            counts = torch.zeros(self.groups, dtype=torch.float64, device=self.device)
            for _, labels in batches:
                counts += torch.bincount(labels[labels >= 0], minlength=self.groups)
            if bool(counts.any()):
                self.set_prior(counts)

    def checked_labels(self, labels: Any, n: int) -> Tensor:
        """The ``labels`` of ``n`` examples, a tensor, an array or a list of whole numbers, as int64 ``(n,)``; a single
        number is the class of them all.

        Raises ``ZooError`` where the model has no classes, or ``labels`` are no such thing. A hidden class, which
        training knows as a negative label, is none to ask about.
        """
        self.require_classes()
        wanted = f"labels must be {n} whole numbers from 0 to {self.groups - 1}"
        try:
            labels = torch.as_tensor(labels)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ZooError(f"{wanted}, not {str(labels)[:40]}") from error
        if labels.dim() == 0:
            labels = labels.expand(n)
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool or labels.shape != (n,):
            raise ZooError(f"{wanted}, not {tuple(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}")
        if n and not 0 <= int(labels.min()) <= int(labels.max()) < self.groups:
            raise ZooError(f"{wanted}, not from {int(labels.min())} to {int(labels.max())}")
        return labels.long()

    def possible(self, x: Tensor) -> Tensor:
        """Examples with values as the data can have them: grey values that were drawn outside [0, 1] are clipped."""
        return x.clamp(0, 1) if self.spec.values == "grey" else x

    def require_classes(self) -> None:
        """Raise ``ZooError`` where the model has no classes."""
        if self.log_prior is None:
            why = "the data has one alone" if self.spec.num_classes == 1 else f"{self.option}=false"
            raise ZooError(f"this model knows no classes ({why}): it takes no labels")


def bayes(log_joint: Tensor) -> tuple[Tensor, Tensor]:
    """Bayes' rule: log p(x), ``(B,)``, and log p(y | x), ``(B, K)``, from log p(x, y) ``(B, K)``, in nats."""
    return log_joint.logsumexp(1), log_joint.log_softmax(1)


class Density(Generative):
    """Base of the generative models whose density, or a bound of it, can be computed.

    >>> import zoo
    >>> isinstance(zoo.create("gmm"), zoo.Density), isinstance(zoo.create("dcgan"), zoo.Density)
    (True, False)

    A subclass defines ``log_prob_of(x, group, observed=None)``, log p(x | group) in nats, ``(B,)``, of the entries that
    ``observed`` marks, the others integrated out, for one of its ``groups`` of parameters: one a class, or a single one
    for all examples. Or it defines :meth:`log_joint` itself.

    It is then trained by gradient (``learner=likelihood``), and by EM (``learner=em``) if it also has

    ===========================  =======================================================================================
    ``initialize(batches,        finds parameters to start from; ``batches`` can be iterated again and again, a
    generator)``                 ``torch.Generator`` is where random numbers come from. Sets ``initialized``
    ``statistics(x, labels)``    the E-step: expected sufficient statistics of a batch under the current parameters.
                                 Tensors by name that add up over batches and processes, float64 where the device has
                                 it; among them ``images``, the number of examples, and ``log_likelihood``, the sum of
                                 their :meth:`log_likelihood`
    ``maximize(statistics)``     the M-step: the parameters that are most likely given the statistics of a pass
    ===========================  =======================================================================================

    A negative label says that a class is hidden: such an example counts in each class by :meth:`responsibilities`. A
    model whose ``statistics`` do so names them in ``partly_labelled``.

    Args:
        spec: the data.
        conditional: a density for each class. Without it the model is no classifier.

    Attributes:
        density: what ``log_prob`` is.
        initialized: whether ``initialize`` has run, or has been loaded.
        hidden_classes: whether labels may be negative; None: who knows. To look is to wait for the device, so that a
            training that knows better says so.
        classes_by_joint: whether log p(y | x) is what :func:`bayes` makes of ``log_joint``.
        is_counted: whether ``initialize`` finds everything, so that EM has nothing to change.
    """

    density: Likelihood
    initialized: Tensor
    marginalises = True
    partly_labelled: tuple[str, ...] = ("losses",)
    hidden_classes: bool | None = None
    classes_by_joint = True
    is_counted = False
    option = "per_class"

    def __init__(self, spec: DataSpec, conditional: bool) -> None:
        super().__init__(spec, conditional)
        self.register_buffer("initialized", torch.tensor(False))

    def log_joint(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(x, y) in nats for every class y, ``(B, K)``; log p(x), ``(B, 1)``, where there are no classes."""
        columns = torch.stack([self.log_prob_of(x, group, observed) for group in range(self.groups)], 1)
        return columns if self.log_prior is None else columns + self.log_prior.to(columns.dtype)

    @property
    def answers_at_once(self) -> bool:
        """Whether log p(x) and log p(y | x) are of the same values, so that one :meth:`log_joint` tells both."""
        return self.log_prior is not None and self.classes_by_joint and self.density.of != "dequantised"

    # What follows

    def log_prob(self, x: Tensor, labels: Tensor | None = None, observed: Tensor | None = None) -> Tensor:
        """log p(x), or log p(x | labels), in nats, ``(B,)``, of the entries that ``observed`` marks (all if left out).

        Raises ``ZooError`` where labels are given to a model without classes.
        """
        if labels is None:
            return bayes(self.log_joint(x, observed))[0]
        self.require_classes()
        result = self.log_prior.new_full((len(x),), math.nan)  # type: ignore[union-attr]  # of what is no class
        for group, index in self.by_group(labels):
            part = None if observed is None else observed[index]
            result = result.index_put((index,), self.log_prob_of(x[index], group, part).to(result.dtype))
        return result

    @available_if(has_classes)
    def classify(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """log p(y | x) in nats, ``(B, K)``, from the entries that ``observed`` marks (all if left out)."""
        return bayes(self.log_joint(x, observed))[1]

    def responsibilities(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """p(y | x), ``(B, K)``, and log p(x), ``(B,)``, in float64: what an example of hidden class counts as in EM."""
        joint = self.log_joint(*self.gaps(x)).double()
        return joint.softmax(1), bayes(joint)[0]

    # Training

    def log_likelihood(self, x: Tensor, labels: Tensor) -> Tensor:
        """What training maximises, in nats, ``(B,)``: log p(x, y); log p(x) where there are no classes, or an example's
        is hidden."""
        if self.log_prior is None:
            return self._log_prob(x)
        if self.hidden_classes is not False and bool((labels < 0).any()):
            known = labels >= 0
            result = self._log_prob(x).to(self.log_prior.dtype)
            if bool(known.any()):
                result = result.index_put((known,), self.log_likelihood(x[known], labels[known]).to(result.dtype))
            return result
        return self._log_prob(x, labels) + self.log_prior[labels]

    def _log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """As :meth:`log_prob`, of what is seen of training examples."""
        x, observed = self.gaps(x)
        return self.log_prob(x, labels) if observed is None else self.log_prob(x, labels, observed)

    def gaps(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Training examples with 0 for missing values, and which are seen; as they are, and None, where the data has no
        gaps."""
        if not self.spec.missing:
            return x, None
        observed = ~x.isnan()
        return torch.where(observed, x, 0), observed

    def losses(self, x: Tensor, labels: Tensor, epoch: float = math.inf) -> dict[str, Tensor]:
        """The criterion of training by gradient, ``loss``, and what it consists of: means of a batch, nats an example.

        ``epoch``, the number of epochs done so far, is for models whose criterion changes.
        """
        mean = self.log_likelihood(x, labels).mean()
        return {"loss": -mean, "log_likelihood": mean.detach()}

    def validate(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What a validation pass looks at, a row an example: ``log_joint``; in other models values to average, too."""
        return {"log_joint": self.log_joint(*self.gaps(x))}

    def by_group(self, labels: Tensor) -> list[tuple[int, Tensor]]:
        """The groups that occur among ``labels`` and the indices of their examples."""
        if self.groups == 1:
            return [(0, torch.arange(len(labels), device=labels.device))] if len(labels) else []
        pairs = [(group, (labels == group).nonzero()[:, 0]) for group in range(self.groups)]
        return [(group, index) for group, index in pairs if len(index)]


class ByGroup(Density):
    """Base of the densities whose ``log_prob_of`` takes the group of each example, int64 ``(B,)``, as well as one of
    all: nothing has to be sorted by class. They are networks or counts, which integrate nothing out."""

    marginalises = False
    option = "conditional"
    partly_labelled: tuple[str, ...] = ()

    def groups_of(self, labels: Tensor) -> Tensor:
        """The group of each class; 0 where there are no classes."""
        return labels if self.log_prior is not None else torch.zeros_like(labels)

    def log_joint(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        self._refuse(observed)
        return super().log_joint(x)

    def log_prob(self, x: Tensor, labels: Tensor | None = None, observed: Tensor | None = None) -> Tensor:
        self._refuse(observed)
        if labels is None:
            return super().log_prob(x)
        self.require_classes()
        return self.log_prob_of(x, labels)

    def _refuse(self, observed: Tensor | None) -> None:
        if observed is not None and not self.marginalises:
            raise ZooError(f"{self.name} cannot integrate hidden values out{self.unless}")

    @torch.no_grad()
    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """The prior of the classes, from the labels. A subclass that counts more extends it."""
        self.count_classes(batches)
        self.initialized.fill_(True)


class Latent(Generative):
    """Base of the generative models that make an example out of a latent z, ``(B, latent_dim)``, and the class if any.

    >>> import zoo
    >>> [name for name in ("vae", "dcgan", "gmm") if isinstance(zoo.create(name), zoo.Latent)]
    ['vae', 'dcgan']

    A subclass sets ``latent_dim`` and defines ``decode(z, labels=None)``, latents ``(B, D)`` to (mean) examples
    ``(B, C, H, W)``; where its prior is no standard normal, :meth:`prior`; and ``encode(x, labels=None)`` if it can.
    """

    latent_dim: int

    def prior(self, noise: Tensor) -> Tensor:
        """Standard normal noise ``(B, D)`` to draws from p(z). A bijection: paths through noise are paths through z."""
        return noise

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Standard normal ``(n, D)`` on the model's device."""
        like = next(self.parameters())
        return torch.randn(n, self.latent_dim, generator=generator, device=like.device, dtype=like.dtype)

    def generate(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Standard normal noise ``(B, D)`` to examples ``(B, C, H, W)``, each a function of its noise and label alone;
        a bounded number at a time."""
        return self.decode_all(torch.cat([self.prior(part) for part in noise.split(AT_ONCE)]), labels)

    def decode_all(
        self, z: Tensor, labels: Tensor | None = None, decode: Callable[..., Tensor] | None = None
    ) -> Tensor:
        """As ``decode``, or another that is given, a bounded number at a time; labels are left aside where there are no
        classes."""
        if len(z) == 0:
            return z.new_empty(0, *self.spec.shape)
        size, decode = at_once(AT_ONCE, math.prod(self.spec.shape)), decode or self.decode
        given = (z,) if self.log_prior is None or labels is None else (z, labels)
        return torch.cat([decode(*part) for part in in_parts(size, *given)])

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """``n`` examples ``(n, C, H, W)``; of p(x | labels) if given, else of p(x)."""
        groups = self.draw_groups(n, labels, generator)
        return self.generate(self.noise(n, generator), groups)

    def interpolate(
        self,
        n: int,
        steps: int,
        ends: tuple[Tensor, Tensor] | None = None,
        labels: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Paths from example to example, ``(n, steps, C, H, W)``; see :func:`zoo.interpolate`.

        Between random examples they follow great arcs of noise. Between the codes of given ones, ``encode(x, labels)``,
        they are those of :meth:`between`. Raises ``ZooError``
        where ``ends`` are given to a model that cannot encode, or where they need ``labels``.
        """
        if ends is not None and not hasattr(self, "encode"):
            raise ZooError("this model has no codes of images to go between: leave ends out")
        if ends is not None and self.log_prior is not None and labels is None:
            raise ZooError("images of this model depend on a class: give labels, one a pair of ends")
        groups = self.draw_groups(n, labels, generator)
        of_steps = groups.repeat_interleave(steps)
        if ends is None:
            path = slerp(self.noise(n, generator), self.noise(n, generator), steps)
            images = self.generate(path.flatten(0, 1), of_steps)
        else:
            first, last = (self._codes(end, groups) for end in ends)
            path = self.between(first, last, steps)
            images = self.decode_all(path.flatten(0, 1), of_steps)
        return images.unflatten(0, (n, steps))

    def between(self, first: Tensor, last: Tensor, steps: int) -> Tensor:
        """Paths from codes to codes, both ``(B, D)``: ``(B, steps, D)``. They are straight: codes are means, which lie
        anywhere within the sphere where draws are."""
        return torch.lerp(first[:, None], last[:, None], torch.linspace(0, 1, steps).to(first)[None, :, None])

    def _codes(self, x: Tensor, groups: Tensor) -> Tensor:
        size = at_once(AT_ONCE, math.prod(self.spec.shape))
        given = (x,) if self.log_prior is None else (x, groups)
        return torch.cat([self.encode(*part) for part in in_parts(size, *given)])


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Points on great arcs from ``start`` to ``end``, both ``(B, D)``: ``(B, steps, D)``.

    Between normal vectors they stay at the typical distance from the origin, where a straight line leaves it (White
    2016, Sampling generative networks).
    """
    t = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)[None, :, None]
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1).clamp(-1, 1)
    angle = cosine.acos()[:, None, None]
    straight = angle.sin() < 1e-4
    sine = torch.where(straight, torch.ones_like(angle), angle.sin())
    start_weight = torch.where(straight, 1 - t, ((1 - t) * angle).sin() / sine)
    end_weight = torch.where(straight, t, (t * angle).sin() / sine)
    return start_weight * start[:, None] + end_weight * end[:, None]
