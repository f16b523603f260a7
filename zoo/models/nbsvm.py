"""NB-SVM: a linear support vector machine on naive Bayes' log-count ratios, the hybrid of the two families.

A term k of the text, if there, counts for class y by how much more often texts of that class have it than others do,

    r_yk = log( (α + p_yk) / ‖α + p_y‖₁ ) − log( (α + q_yk) / ‖α + q_y‖₁ ),      f_y(x) = Σ_k in x  w_yk r_yk + b_y,

with p_yk training texts of class y that have the term, and q_yk of the other classes. The weights w are a support
vector machine's. It trusts rare terms too much in short texts, where naive Bayes, all of whose w are alike, is better;
so that weights are drawn towards their mean magnitude when the model is asked, β w + (1 − β) mean |w|.

Of two classes r_0 = −r_1, so that w_0 and w_1, which start at zero, stay the same: f_1 − f_0 has r = r_1 with the
weights w = w_0 + w_1 and the mean magnitude of those, which is the paper's machine for C = 2 / (N · weight decay).

Reference: Wang & Manning (2012), Baselines and bigrams: simple, good sentiment and topic classification.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.base.bag import Bag
from zoo.base.generative import Batches
from zoo.models.svm import SVM
from zoo.registry import register
from zoo.spec import DataSpec


@register("nbsvm")
class NBSVM(SVM):
    """A linear support vector machine on log-count ratios, which are found before the first batch.

    Args:
        spec: vocabulary and classes of the data.
        alpha: how often each term is imagined in each class, above 0.
        beta: share of the machine's own weights when it is asked, in [0, 1]: with 0 it is near naive Bayes.
        loss: ``"hinge"`` or ``"squared_hinge"``.

    Attributes:
        ratio: r, ``(K, V)``.
        initialized: whether it has been found, or loaded.
    """

    takes = ("counts",)
    weighting = "presence"
    asked_otherwise = True
    normalize: Bag
    ratio: Tensor
    initialized: Tensor

    def __init__(self, spec: DataSpec, alpha: float = 1.0, beta: float = 0.25, loss: str = "squared_hinge") -> None:
        super().__init__(spec, kernel="linear", loss=loss)
        if not alpha > 0 or not 0 <= beta <= 1:
            raise ValueError("alpha must be above 0 and beta in [0, 1]")
        self.alpha, self.beta = alpha, beta
        self.register_buffer("ratio", torch.zeros_like(self.head.weight.detach()))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize(self, batches: Batches, generator: torch.Generator) -> None:
        """The ratios, of all training texts; nothing is drawn from ``generator``."""
        groups, size = self.ratio.shape
        counts = torch.zeros(groups, size, dtype=torch.float64, device=self.ratio.device)
        for x, labels in batches:
            terms, values = self.normalize.terms(x)
            counts += terms.totals(F.one_hot(labels, groups).to(counts.dtype), values, size)
        own, others = self.alpha + counts, self.alpha + counts.sum(0) - counts
        shares = (part / part.sum(1, keepdim=True) for part in (own, others))
        first, second = (share.log() for share in shares)
        self.ratio.copy_(first - second)
        self.initialized.fill_(True)

    def logits(self, x: Tensor) -> Tensor:
        weight = self.head.weight if self.training else self.interpolated()
        return self.normalize.mapped(self.ratio * weight, x) + self.head.bias

    def interpolated(self) -> Tensor:
        """The machine's weights as they are when the model is asked, ``(K, V)``."""
        weight = self.head.weight
        return self.beta * weight + (1 - self.beta) * weight.abs().mean(1, keepdim=True)

    def coefficients(self) -> Tensor:
        """Of the terms, as they are in log p(y | x), ``(K, V)``."""
        return self.ratio * self.interpolated() / self.temperature
