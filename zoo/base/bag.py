"""Texts as bags of terms: which terms a text lists and how often, what that counts for, and linear maps of it.

A text is int64 ``(1, 1, T)``: the numbers of its terms among the V of ``spec.vocabulary`` in their order; V for a term
that the vocabulary does not have, and −1 for nothing. Texts have tens of terms and vocabularies hundreds of thousands,
so that counts are kept by text and term, and nothing is laid out over the vocabulary but where it is said.

What a term with count c > 0 in a text counts for, by ``weighting``:

===========  ==========================================================================================================
``count``    c
``presence`` 1
``tfidf``    c · (1 − ln s), s the share of training texts that have the term; then the text's values are divided by
             their Euclidean norm (scikit-learn's ``TfidfTransformer(smooth_idf=False)``)
===========  ==========================================================================================================

Reference: Spärck Jones (1972), A statistical interpretation of term specificity and its application in retrieval.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.base.precision import full
from zoo.spec import DataSpec

WEIGHTINGS = ("count", "presence", "tfidf")
ROWS = 64  # of weights at a time: each makes a number of every term of a batch


class Terms(NamedTuple):
    """The different terms of B texts, N in all, in the order of texts and then of ids.

    Attributes:
        rows: in which text each is, int64 ``(N,)``.
        ids: which term it is, int64 ``(N,)``.
        counts: how often that text lists it, int64 ``(N,)``.
        listed: which places of the texts list any of them, bool ``(B, T)``.
        numbers: which of the N each listed place lists, int64, text by text.
    """

    rows: Tensor
    ids: Tensor
    counts: Tensor
    listed: Tensor
    numbers: Tensor

    def sums(self, weight: Tensor, values: Tensor) -> Tensor:
        """Σ over the terms t of each text of ``weight[:, t]`` times the term's value: ``(B, K)``.

        Args:
            weight: ``(K, V)``.
            values: what each of the N terms counts for, ``(N,)``.
        """
        return torch.cat([self._sums(part, values) for part in weight.split(ROWS)]).T.to(weight.dtype)

    def _sums(self, weight: Tensor, values: Tensor) -> Tensor:
        products = full(weight.index_select(1, self.ids)) * values
        return products.new_zeros(len(weight), len(self.listed)).index_add(1, self.rows, products)

    def totals(self, shares: Tensor, values: Tensor, size: int) -> Tensor:
        """Σ over texts of their ``shares`` ``(B, K)`` times the value of each of ``size`` terms in them: ``(K, size)``,
        laid out."""
        products = shares.index_select(0, self.rows) * values[:, None]
        return products.new_zeros(size, shares.shape[1]).index_add(0, self.ids, products).T

    def spread(self, values: Tensor) -> Tensor:
        """``values`` ``(N,)`` shared out evenly among the places that list a term: ``(B, T)``, 0 elsewhere."""
        places = values.new_zeros(self.listed.shape)
        places[self.listed] = (values / self.counts)[self.numbers]
        return places


def terms_of(x: Tensor, size: int) -> Terms:
    """What texts ``(B, 1, 1, T)`` list of the terms 0 to ``size`` − 1."""
    ids = x.flatten(1)
    listed = (ids >= 0) & (ids < size)
    rows = torch.arange(len(ids), device=x.device)[:, None]
    keys, numbers, counts = (rows * size + ids)[listed].unique(return_inverse=True, return_counts=True)
    return Terms(keys // size, keys % size, counts, listed, numbers)


def of_places(weight: Tensor, x: Tensor) -> Tensor:
    """The columns of ``weight`` ``(K, V)`` that texts ``(B, 1, 1, T)`` list: ``(B, K, T)``; whatever it is where a
    place lists no known term."""
    return weight[:, x.flatten(1).clamp(0, weight.shape[1] - 1)].transpose(0, 1)


def weighting_of(spec: DataSpec, otherwise: str) -> str:
    """``weighting`` of the data's settings; where that is ``auto``, what suits the model."""
    chosen = spec.settings.get("weighting", "auto")
    return otherwise if chosen == "auto" else str(chosen)


class Bag(nn.Module):
    """Weighted counts: to texts what :class:`zoo.base.classifier.Normalize` is to pictures and rows. Terms that the
    vocabulary does not have count for nothing.

    Args:
        spec: the data, of counts.
        otherwise: the weighting where the data says ``auto``.
    """

    scale: Tensor

    def __init__(self, spec: DataSpec, otherwise: str) -> None:
        super().__init__()
        self.size = math.prod(spec.shape)
        self.weighting = weighting_of(spec, otherwise)
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting is auto, {', '.join(WEIGHTINGS[:-1])} or {WEIGHTINGS[-1]}")
        scale = torch.ones(self.size)
        if self.weighting == "tfidf":
            if len(spec.mean) != self.size or not all(0 < share <= 1 for share in spec.mean):
                raise ValueError("weighting=tfidf needs the share of texts that have each term: mean of the spec")
            scale = 1 - torch.tensor(spec.mean).log()
        self.register_buffer("scale", scale, persistent=False)
        self.shares = spec.mean

    @property
    def variance(self) -> float:
        """About that of all weighted counts together: of tf-idf it is below 1, the squared norm of a text."""
        return 1.0 if self.weighting == "tfidf" else max(sum(share * (1 - share) for share in self.shares), 1.0)

    def terms(self, x: Tensor) -> tuple[Terms, Tensor]:
        """The known terms of texts ``(B, 1, 1, T)``, N in all, and what each counts for, ``(N,)``."""
        terms = terms_of(x, self.size)
        counts = torch.ones_like(terms.counts) if self.weighting == "presence" else terms.counts
        values = counts * full(self.scale)[terms.ids]
        if self.weighting == "tfidf":
            squares = values.new_zeros(len(x)).index_add(0, terms.rows, values.square())
            values = values / squares.sqrt()[terms.rows]
        return terms, values

    def forward(self, x: Tensor) -> Tensor:
        """Weighted counts ``(B, 1, 1, V)``, laid out."""
        terms, values = self.terms(x)
        counts = self.scale.new_zeros(len(x), self.size)
        counts[terms.rows, terms.ids] = values.to(counts.dtype)
        return counts[:, None, None]

    def mapped(self, weight: Tensor, x: Tensor) -> Tensor:
        """``weight`` ``(K, V)`` times the weighted counts of each text: ``(B, K)``."""
        terms, values = self.terms(x)
        return terms.sums(weight, values)

    def affine(self, layer: Any, x: Tensor) -> Tensor:
        """What a linear ``layer`` makes of the weighted counts, ``(B, out)``."""
        mapped = self.mapped(layer.weight, x)
        return mapped if layer.bias is None else mapped + layer.bias

    def contributions(self, weight: Tensor, x: Tensor) -> Tensor:
        """What each place of the texts adds to :meth:`mapped`, ``(B, K, T)``: 0 where it lists no known term."""
        terms, values = self.terms(x)
        return of_places(weight, x) * terms.spread(values)[:, None]
