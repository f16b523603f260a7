"""How much probability a density gives to images it has not seen, in units that data sets share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.errors import ZooError

LEVELS = 256  # of grey, 1/255 apart


def dequantise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Grey values as real numbers: uint8 images to float32 ones in [-0.5, 255.5] / 255, of the same shape.

    Each value v becomes v / 255 plus uniform noise of width 1/255 around zero, so that a level stands for the interval
    of numbers nearest to it. The expected log density of the result is then at most the log probability of the levels,
    plus log 255 a pixel (Theis, van den Oord & Bethge 2016, eq. 4–7). ``generator`` is one of the CPU. Raises
    ``ZooError`` for what are no levels.
    """
    if images.dtype != torch.uint8:
        raise ZooError("noise makes real numbers of 256 grey levels alone: these are no grey levels")
    noise = torch.rand(images.shape, generator=generator).to(images.device)
    return (images.float() + (noise - 0.5)) / (LEVELS - 1)


def summarize_likelihood(log_prob: Tensor, dimensions: float, of: str) -> dict[str, float]:
    """Mean log-likelihood in nats an example, its standard error, and bits a dimension, or a token.

    Bits/dim is −log p / (D ln 2), the code length of a pixel, for probabilities of binary pixels or levels. A density
    of dequantised grey values in [0, 1] is a factor 255 a dimension larger than that of the same values in [0, 255],
    whose expectation bounds the log probability of the levels: + log2 255 makes it an (upper bound on the) code length
    of a level, to be compared with that of other models of 256 levels (Theis, van den Oord & Bethge 2016, A note on the
    evaluation of generative models, section 3.1).

    Texts are of different lengths: their likelihoods are summed before they are divided by the number of all tokens, so
    that each token counts the same.

    Args:
        log_prob: log p(x), ``(N,)``, in nats, summed over pixels.
        dimensions: D, the number of channels times pixels; of tokens, how many an example has on average.
        of: what ``log_prob`` is of, see :class:`zoo.spec.Likelihood`.

    Returns:
        ``log_prob``, ``bits_per_dim`` but for ``"continuous"`` and ``"mixed"`` values, ``nats_per_token`` and
        ``bits_per_token`` in its place for ``"tokens"``, and, of two examples or more, ``log_prob_se``.
    """
    log_prob = log_prob.cpu().double()  # not every accelerator has float64
    mean = float(log_prob.mean())
    values = {"log_prob": mean}
    if len(log_prob) > 1:
        values["log_prob_se"] = float(log_prob.std()) / math.sqrt(len(log_prob))
    if of in ("continuous", "mixed"):
        return values
    if of == "tokens":
        nats = -mean / dimensions
        return {**values, "nats_per_token": nats, "bits_per_token": nats / math.log(2)}
    offset = math.log2(LEVELS - 1) if of == "dequantised" else 0.0
    return {**values, "bits_per_dim": -mean / (dimensions * math.log(2)) + offset}
