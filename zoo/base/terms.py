"""Distributions of the terms of a text, one of each component: which terms it lists, or how often.

Each term has been imagined ``alpha`` times in each component before anything is seen (Laplace's rule of succession).
The estimates are scikit-learn's ``MultinomialNB`` and ``BernoulliNB``.

Reference: McCallum & Nigam (1998), A comparison of event models for naive Bayes text classification.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.bag import Terms, of_places, terms_of, weighting_of
from zoo.base.precision import precise
from zoo.spec import DataSpec


class Vocabulary(nn.Module):
    """Base of distributions over the terms of a vocabulary.

    A subclass sets ``once`` and ``of`` and defines ``coefficients()``, what a listed term adds to log p of each
    component, ``(K, V)``; ``log_prob(x)``; ``statistics(x, shares)``, sums over texts ``(B, 1, 1, T)`` of their shares
    in each component, float64 ``(B, K)``; and ``maximize(statistics, alpha)``, which are given with the ``counts`` of
    examples, ``(K,)``.

    Args:
        spec: the data, of counts.
        components: how many there are, K.

    Attributes:
        once: whether a term counts once a text, however often it is listed.
        of: what ``log_prob`` is, see :class:`zoo.spec.Likelihood`.
        logits: log p, or log odds, of each term, up to a constant a component: ``(K, V)``.
    """

    once: bool
    of: str

    def __init__(self, spec: DataSpec, components: int) -> None:
        super().__init__()
        self.size = math.prod(spec.shape)
        if weighting_of(spec, "count") not in ("count", "presence"):
            raise ValueError(
                f"data.weighting={spec.settings['weighting']} gives no counts of terms, which a density is about: "
                "data.weighting=auto, count or presence"
            )
        self.logits = nn.Parameter(torch.zeros(components, self.size))

    def terms(self, x: Tensor, unknown: bool) -> tuple[Terms, Tensor]:
        """The terms of texts, N in all, and what each counts for, ``(N,)``; with ``unknown`` ones among them or not."""
        terms = terms_of(x, self.size + unknown)
        return terms, torch.ones_like(terms.counts) if self.once else terms.counts

    def offsets(self) -> Tensor:
        """log p of a text without known terms, up to a constant, ``(K,)``."""
        return self.logits.new_zeros(len(self.logits))

    def contributions(self, x: Tensor) -> Tensor:
        """What each place of texts adds to log p, in nats, ``(B, K, T)``: 0 where it lists no known term."""
        terms, counts = self.terms(x, unknown=False)
        weight = self.coefficients()
        return of_places(weight, x) * terms.spread(counts.to(weight.dtype))[:, None]

    def coefficients(self) -> Tensor:
        raise TypeError(f"{type(self).__name__} defines no coefficients")


class Multinomial(Vocabulary):
    """Terms in their order, given how many they are, are drawn one by one: log p = Σ log p(term), without a multinomial
    coefficient.

    A term is unknown with the same probability u in all components, so that unknown ones cancel in Bayes' rule:
    p(t) = (1 − u) θ_t of a known one. It is the share of training terms that are unknown or occur but once (Good 1953),
    and at least what one term in two more would make it. There are taken to be M different unknown terms, as many as
    that, of u / M each: one is as probable as a term that was met once. As a single term they would be among the most
    probable of all, so that strange texts were the likeliest, and a smaller vocabulary always a better one.

    Reference: Good (1953), The population frequencies of species and the estimation of population parameters.
    """

    of = "tokens"
    unknown: Tensor
    unseen: Tensor
    length: Tensor

    def __init__(self, spec: DataSpec, components: int) -> None:
        super().__init__(spec, components)
        self.once = weighting_of(spec, "count") == "presence"
        self.register_buffer("unknown", torch.tensor(0.5))
        self.register_buffer("unseen", torch.ones(()))  # M
        self.register_buffer("length", torch.ones(components))  # the mean number of terms of a text

    def coefficients(self) -> Tensor:
        """log θ of each term, in nats, ``(K, V)``."""
        return self.logits.log_softmax(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """In nats, ``(B, K)``, of texts ``(B, 1, 1, T)``."""
        terms, counts = self.terms(x, unknown=True)
        known = self.coefficients() + (-self.unknown).log1p()
        each = (self.unknown / self.unseen).log().expand(len(known), 1)  # unknown one
        return terms.sums(torch.cat([known, each], 1), counts)

    def statistics(self, x: Tensor, shares: Tensor) -> dict[str, Tensor]:
        terms, counts = self.terms(x, unknown=True)
        return {"terms": terms.totals(shares, counts, self.size + 1)}

    @torch.no_grad()
    def maximize(self, statistics: dict[str, Tensor], alpha: float) -> None:
        terms, texts = statistics["terms"], statistics["counts"]
        of_all = terms.sum(0)
        rare = of_all[-1] + (of_all[:-1].round() == 1).sum()
        least = 1 / (of_all.sum() + 2)
        self.unseen.copy_(rare.clamp_min(1))
        self.unknown.copy_((rare / of_all.sum().clamp_min(1)).clamp(least, 1 - least))
        self.length.copy_(torch.where(texts > 0, terms.sum(1) / texts, 1))
        self.logits.copy_((terms[:, :-1] + alpha).log())

    def draw(self, of: Tensor, generator: torch.Generator | None) -> Tensor:
        """Texts ``(n, 1, 1, T)`` of known terms, of the components ``of`` ``(n,)``; how many is Poisson with the
        training texts' mean, and at least 1."""
        lengths = torch.poisson(self.length[of], generator=generator).long().clamp_min(1)
        places = torch.arange(int(lengths.max()) if len(of) else 1, device=of.device)
        theta, filled = precise(self.coefficients()).exp(), places < lengths[:, None]
        x = torch.full(filled.shape, -1, device=of.device)
        for component in range(len(theta)):
            mine = filled & (of == component)[:, None]
            count = int(mine.sum())
            if count:
                x[mine] = torch.multinomial(theta[component], count, replacement=True, generator=generator)
        return x[:, None, None]


class Presence(Vocabulary):
    """Each term of the vocabulary is a coin: whether a text has it, however often. Unknown terms say nothing."""

    once = True
    of = "binary"

    def coefficients(self) -> Tensor:
        """Log odds of each term, in nats, ``(K, V)``."""
        return self.logits

    def offsets(self) -> Tensor:
        return F.logsigmoid(-self.logits).sum(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """In nats, ``(B, K)``, of texts ``(B, 1, 1, T)``."""
        terms, present = self.terms(x, unknown=False)
        return terms.sums(self.logits, present) + self.offsets()

    def statistics(self, x: Tensor, shares: Tensor) -> dict[str, Tensor]:
        terms, present = self.terms(x, unknown=False)
        return {"terms": terms.totals(shares, present, self.size)}

    @torch.no_grad()
    def maximize(self, statistics: dict[str, Tensor], alpha: float) -> None:
        on, texts = statistics["terms"], statistics["counts"][:, None]
        self.logits.copy_(((on + alpha) / (texts - on + alpha)).log())


VOCABULARIES: dict[str, type[Multinomial] | type[Presence]] = {"multinomial": Multinomial, "bernoulli": Presence}
