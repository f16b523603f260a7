"""What a model needs to know about its data, and all that it needs to know."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from zoo.errors import ZooError


@dataclass(frozen=True)
class DataSpec:
    """Shape, classes and pixel statistics of a data set. Plain data: it travels inside every checkpoint.

    Attributes:
        shape: ``(C, H, W)`` of an image; pixels are float32 in ``[0, 1]``.
        num_classes: number of labels, ``0 .. num_classes - 1``.
        class_names: one name a class, in label order; the labels themselves if left out.
        mean: per channel, over the training pixels; 0 if left out.
        std: per channel, over the training pixels; 1 if left out.
        invert: how an image file must be treated to look like the training images: ``"never"``, ``"always"``, or
            ``"auto"`` (dark-on-light grey pictures are inverted, see ``zoo.data.kinds.image.is_dark_on_light``).
    """

    shape: tuple[int, int, int] = (1, 28, 28)
    num_classes: int = 10
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    invert: str = "auto"

    def __post_init__(self) -> None:
        for name, convert in _CONVERSIONS.items():
            try:
                object.__setattr__(self, name, convert(getattr(self, name)))
            except (TypeError, ValueError) as error:
                raise ZooError(f"{name} of a data spec cannot be {getattr(self, name)!r}") from error
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ZooError(f"shape must be (channels, height, width), all at least 1, not {self.shape}")
        if self.num_classes < 1:
            raise ZooError(f"num_classes must be at least 1, not {self.num_classes}")
        channels = self.shape[0]
        names = self.class_names or tuple(str(label) for label in range(self.num_classes))
        mean, std = self.mean or (0.0,) * channels, self.std or (1.0,) * channels
        for name, value, size in (
            ("class_names", names, self.num_classes),
            ("mean", mean, channels),
            ("std", std, channels),
        ):
            if len(value) != size:
                raise ZooError(f"{name} has {len(value)} entries where {size} are needed")
            object.__setattr__(self, name, value)
        if not all(math.isfinite(m) and math.isfinite(s) and s > 0 for m, s in zip(mean, std, strict=True)):
            raise ZooError(f"mean must be finite and std finite and positive, not {mean} and {std}")
        if self.invert not in ("auto", "always", "never"):
            raise ZooError(f"invert must be auto, always or never, not {self.invert!r}")

    def to_dict(self) -> dict[str, Any]:
        """As lists, strings and numbers, fit for a checkpoint or JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataSpec:
        """The inverse of :meth:`to_dict`. Raises ``ZooError`` on unknown keys or impossible values."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ZooError(f"unknown entries in a data spec: {', '.join(sorted(map(str, unknown)))}")
        return cls(**values)


@dataclass(frozen=True)
class Density:
    """What a model's ``log_prob`` is, so that numbers of different kinds are never ranked together.

    Attributes:
        kind: ``"exact"`` or ``"lower bound"``.
        of: ``"binary"``: the probability of the pixels thresholded at ``threshold``; ``"binarised"``: that of binary
            pixels drawn with the grey value as probability, from a fixed seed; ``"discrete"``: that of 256 grey levels;
            ``"dequantised"``: the density of the grey values in [0, 1] as real numbers, 1/255 apart, to which uniform
            noise of that width is added before bits/dim are computed (Theis et al. 2016, A note on the evaluation of
            generative models, eq. 4–7); ``"continuous"``: the density of the grey values in [0, 1] as they are, which
            amounts to no bits/dim.
        threshold: grey value above which a binary pixel is on.
    """

    kind: str
    of: str
    threshold: float | None = None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


# to plain data, whatever kind of number or sequence comes in; TypeError or ValueError for what is none
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "shape": lambda sizes: tuple(operator.index(size) for size in sizes),
    "num_classes": operator.index,
    "class_names": lambda names: tuple(_text(name) for name in names),
    "mean": lambda values: tuple(float(value) for value in values),
    "std": lambda values: tuple(float(value) for value in values),
}
