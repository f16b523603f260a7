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


class Categories(nn.Module):
    """The distributions of all columns of categories of a table, for each of some components.

    Args:
        spec: the data, of ``"mixed"`` values: N numbers an example and E entries of its C columns of categories.
        *components: how many there are, of one or more dimensions ``...``.

    Attributes:
        logits: log p up to a constant a column, ``(..., E)``.
    """

    numbers: Tensor
    entries: Tensor

    def __init__(self, spec: DataSpec, *components: int) -> None:
        super().__init__()
        self.widths = [places.stop - places.start for places in spec.categories]
        entries = [entry for places in spec.categories for entry in range(places.start, places.stop)]
        for name, values in (("numbers", spec.numbers), ("entries", entries)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)
        self.logits = nn.Parameter(torch.zeros(*components, len(entries)))

    # Examples

    def parts(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers ``(B, N)`` and the entries of categories ``(B, E)`` of flat examples, or of what is seen."""
        return values[:, self.numbers], values[:, self.entries]

    def joined(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Flat examples of their :meth:`parts`."""
        whole = numbers.new_empty(len(numbers), len(self.numbers) + len(self.entries))
        return whole.index_copy(1, self.numbers, numbers).index_copy(1, self.entries, categories)

    # Distributions

    def log_p(self) -> Tensor:
        """log p of each category, ``(..., E)``, in nats."""
        return torch.cat([F.log_softmax(part, -1) for part in self.logits.split(self.widths, -1)], -1)

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
        probabilities = self.log_p().exp().flatten(0, -2)[of]
        drawn = []
        for part in probabilities.split(self.widths, 1):
            chosen = torch.multinomial(part, 1, generator=generator)[:, 0] if len(of) else of
            drawn.append(F.one_hot(chosen, part.shape[1]).to(part.dtype))
        return torch.cat(drawn, 1)
