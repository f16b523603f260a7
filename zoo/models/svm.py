"""Support vector machine: linear, or with the RBF kernel through random Fourier features.

Crammer & Singer's multiclass hinge asks that the true class win by a margin of one,

    loss(x, y) = max(0, 1 + max_{k != y} f_k(x) - f_y(x)),        f(x) = W phi(x) + b,

or it is squared, and the optimiser's weight decay is the L2 penalty on W. Of two classes the machine is LIBLINEAR's for
C = 2 / (N · weight decay), N examples and w = W_1 - W_0. The linear machine has phi(x) = x. The kernel
k(x, x') = exp(-|x - x'|^2 / (2 sigma^2)) is replaced by the inner product of D random features

    phi(x) = sqrt(2 / D) cos(Omega x + b),        Omega ~ N(0, 1 / sigma^2),  b ~ U(0, 2 pi),

which is unbiased and costs O(D) a image instead of O(number of support vectors). The rows of Omega are drawn in
orthogonal blocks with the norms of Gaussian vectors: still unbiased, with a smaller variance. ``bandwidth`` is sigma
in units of the typical distance between two examples, sqrt(2 d) of normalised images of d pixels.

Large pictures would need a matrix of gigabytes. Beyond 4,096 pixels Omega is a product of random signs D and Hadamard
matrices H, for images padded to d' = 2^p pixels, of which nothing is stored but the signs:

    Omega x = sqrt(d') / sigma H D_1 H D_2 H D_3 x,        H' H = I.

A margin machine has no probabilities of its own. They come from one temperature, softmax(f / T), fitted to the
validation labels by minimum negative log-likelihood (Guo et al. 2017).

References: Crammer & Singer (2001), On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines;
Fan et al. (2008), LIBLINEAR; Rahimi & Recht (2007), Random Features for Large-Scale Kernel Machines; Yu et al. (2016),
Orthogonal Random Features, section 5 for large pictures.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base.available import available_if
from zoo.base.classifier import Classifier
from zoo.base.linear import linear_contributions
from zoo.registry import register
from zoo.spec import DataSpec

LARGEST_DRAWN = 4096  # pixels up to which Omega is drawn and orthogonalised
LOSSES = {"hinge": 1, "squared_hinge": 2}  # and the power of the hinge that they are
TURNS = 3  # products with signs and a Hadamard matrix, after which a vector may point anywhere


def _is_linear(model: SVM) -> bool:
    return model.kernel == "linear"


@register("svm")
class SVM(Classifier):
    """A multiclass support vector machine trained by gradient descent on the hinge.

    Args:
        spec: shape and classes of the data.
        kernel: ``"linear"`` or ``"rbf"``.
        num_features: D, the number of random Fourier features (RBF only).
        bandwidth: sigma over the typical distance of two examples (RBF only).
        seed: draws the projection; it is drawn again at loading and not stored (RBF only).
        loss: ``"hinge"`` or ``"squared_hinge"``.
        mirror: average the margins of each image and its mirror image, see :meth:`zoo.Classifier.views` (RBF only).
    """

    head: nn.Linear
    takes = (*Classifier.takes, "counts")
    margins = True
    signs: Tensor

    def __init__(
        self,
        spec: DataSpec,
        kernel: str = "rbf",
        num_features: int = 16384,
        bandwidth: float = 0.3,
        seed: int = 0,
        loss: str = "hinge",
        mirror: bool = False,
    ) -> None:
        super().__init__(spec, mirror)
        if kernel not in ("linear", "rbf"):
            raise ValueError(f"kernel must be linear or rbf, not {kernel!r}")
        if mirror and kernel == "linear":
            raise ValueError("mirror=true is of kernel=rbf: what each pixel adds to a margin is that of one picture")
        if num_features < 1 or bandwidth <= 0:
            raise ValueError("num_features must be at least 1 and bandwidth positive")
        if loss not in LOSSES:
            raise ValueError(f"loss must be {' or '.join(LOSSES)}, not {loss!r}")
        self.kernel, self.power = kernel, LOSSES[loss]
        dim = math.prod(spec.shape)
        if kernel == "rbf" and spec.values == "counts" and dim > LARGEST_DRAWN:
            raise ValueError(
                f"kernel=rbf lays out a number for each of the {dim:,} terms of the vocabulary, of which it takes "
                f"{LARGEST_DRAWN:,} at most: model.kernel=linear, or data.vocabulary={LARGEST_DRAWN}"
            )
        self.structured = kernel == "rbf" and dim > LARGEST_DRAWN
        self.sigma = bandwidth * math.sqrt(2 * self.normalize.variance)
        self.head = nn.Linear(num_features if kernel == "rbf" else dim, spec.num_classes)  # first: it is in the file
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if self.structured:
            signs, phases = random_signs(dim, num_features, seed)
            self.register_buffer("signs", signs)  # stored: a file without them is of a matrix that was drawn
            self.register_buffer("phases", phases, persistent=False)
        elif kernel == "rbf":
            frequencies, phases = random_fourier_features(dim, num_features, self.sigma, seed)
            self.register_buffer("frequencies", frequencies, persistent=False)
            self.register_buffer("phases", phases, persistent=False)

    def logits(self, x: Tensor) -> Tensor:
        return self.normalize.affine(self.head, x) if self.kernel == "linear" else super().logits(x)

    def features(self, x: Tensor) -> Tensor:
        pixels = self.normalize(x).flatten(1)
        if self.kernel == "linear":
            return pixels
        if self.structured:
            angles = structured_projection(pixels, self.signs)[:, : len(self.phases)] / self.sigma
            return angles.add_(self.phases).cos_().mul_(math.sqrt(2))
        # scaled by sqrt(2) rather than sqrt(2 / D): features of unit variance suit the same learning rate at any D
        return torch.addmm(self.phases, pixels, self.frequencies).cos_().mul_(math.sqrt(2))

    def loss(self, logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The multiclass hinge or its square, averaged over the batch, in units of the margin."""
        if label_smoothing:
            raise ValueError("the hinge has no label smoothing: learner.label_smoothing=0")
        return multiclass_hinge(logits, labels, self.power)

    @available_if(_is_linear)
    def coefficients(self) -> Tensor:
        """Of the normalised pixels, or of weighted counts, as they are in log p(y | x), ``(K, C·H·W)``."""
        return self.head.weight / self.temperature

    @available_if(_is_linear)
    def offsets(self) -> Tensor:
        """The logits of the mean training example, or of a text without words, ``(K,)``."""
        return self.head.bias / self.temperature

    @available_if(_is_linear)
    def contributions(self, x: Tensor) -> Tensor:
        """What each column, or each place of a text, adds to the logits, ``(B, K, columns)``."""
        return linear_contributions(self, self.coefficients(), x)


def multiclass_hinge(logits: Tensor, labels: Tensor, power: int = 1) -> Tensor:
    """Crammer & Singer's hinge: ``max(0, 1 + best wrong - right)``, averaged over the batch.

    Args:
        logits: ``(B, K)``.
        labels: ``(B,)`` int64.
        power: of which it is averaged.
    """
    right = logits.gather(1, labels[:, None])
    wrong = logits.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True)
    hinge = (1 + wrong - right).clamp_min(0)
    return (hinge if power == 1 else hinge**power).mean()


def random_fourier_features(dim: int, num_features: int, sigma: float, seed: int) -> tuple[Tensor, Tensor]:
    """Frequencies ``(dim, D)`` and phases ``(D,)`` of the RBF kernel of length scale ``sigma``, from ``seed`` alone."""
    generator = torch.Generator().manual_seed(seed)
    blocks = []
    for start in range(0, num_features, dim):
        width = min(dim, num_features - start)
        orthogonal = torch.linalg.qr(torch.randn(dim, width, generator=generator))[0]
        norms = torch.randn(dim, width, generator=generator).norm(dim=0)
        blocks.append(orthogonal * norms)
    frequencies = torch.cat(blocks, 1) / sigma
    phases = torch.rand(num_features, generator=generator) * (2 * math.pi)
    return frequencies, phases


def random_signs(dim: int, num_features: int, seed: int) -> tuple[Tensor, Tensor]:
    """The signs of :func:`structured_projection`, int8 ``(blocks, TURNS, 2^p)`` with 2^p ≥ ``dim``, and phases ``(D,)``
    of the RBF kernel, from ``seed`` alone."""
    generator = torch.Generator().manual_seed(seed)
    size = 1 << (dim - 1).bit_length()
    shape = (-(-num_features // size), TURNS, size)
    signs = torch.randint(2, shape, generator=generator, dtype=torch.int8, device="cpu") * 2 - 1
    phases = torch.rand(num_features, generator=generator, device="cpu") * (2 * math.pi)
    return signs, phases


def structured_projection(x: Tensor, signs: Tensor) -> Tensor:
    """Projections of ``x`` ``(B, dim)`` onto directions like normal vectors, ``(B, blocks · 2^p)``: those of a block
    are orthogonal but for the padding of x with zeros (Yu et al. 2016, eq. 6).

    A Hadamard matrix of 2^p rows is a Kronecker product of two small ones: two products of matrices.
    """
    size = signs.shape[2]
    left = 1 << (size.bit_length() - 1) // 2
    first, second = hadamard(left).to(x), hadamard(size // left).to(x)
    padded = F.pad(x, (0, size - x.shape[1]))
    blocks = []
    for block in signs:
        y = padded
        for turn in block:
            y = (first @ (y * turn).unflatten(1, (left, -1)) @ second).flatten(1)
        blocks.append(y * math.sqrt(size))
    return torch.cat(blocks, 1)


def hadamard(size: int) -> Tensor:
    """The orthogonal matrix of 2^p rows and columns whose entries are ± 2^(−p/2) (Sylvester 1867)."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix / math.sqrt(size)
