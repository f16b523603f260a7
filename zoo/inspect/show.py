"""Images in memory as a picture, for a notebook."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from PIL import Image

from zoo.errors import DataError
from zoo.inspect.grids import grid, in_rows

MOST = 1024  # images in a picture
FARTHEST = (-4.0, 5.0)  # that samples of a density of real numbers are from [0, 1]


def show(images: Any, columns: int | None = None) -> Image.Image:
    """Images as one picture, which a notebook shows, and ``.save("them.png")`` writes.

    >>> import torch, zoo
    >>> zoo.show(torch.rand(6, 1, 28, 28), columns=3).size
    (180, 122)

    Args:
        images: ``(N, C, H, W)``, ``(C, H, W)`` or ``(H, W)`` in [0, 1], or uint8 levels; with rows and columns of their
            own ``(R, K, C, H, W)``, such as completions ``(n, N, C, H, W)`` of ``zoo.impute``. Tensors, arrays, lists
            of them or of PIL's pictures of one size. What a density draws a little beyond [0, 1] is black or white. Of
            channels that are no colours the first one is shown.
        columns: images in a row; about as many as there are rows if left out.

    Raises:
        DataError: what is no images, has another number of axes, no image, or more than 1,024 of them, values that are
            missing, or levels that are no uint8.
    """
    x = _tensor(images)
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    if x.isnan().any():
        raise DataError("some values are missing (NaN): zoo.impute fills them in")
    if x.numel() and not FARTHEST[0] <= x.min() <= x.max() <= FARTHEST[1]:
        raise DataError(f"values from {x.min():.4g} to {x.max():.4g} are not in [0, 1]; levels to 255 are uint8")
    if x.dim() in (2, 3):
        x = x.reshape(1, *(1,) * (3 - x.dim()), *x.shape)
    if x.dim() not in (4, 5) or 0 in x.shape:
        raise DataError(f"images are (N, C, H, W) or (R, K, C, H, W), not {tuple(x.shape)}")
    if math.prod(x.shape[:-3]) > MOST:
        raise DataError(f"{math.prod(x.shape[:-3]):,} images make no picture: at most {MOST:,}")
    if x.dim() == 4:
        if columns is not None and columns < 1:
            raise DataError(f"columns={columns}: there is one at least")
        x = in_rows(x, min(columns or math.ceil(math.sqrt(len(x))), len(x)))
    elif columns is not None:
        raise DataError("columns= is for images without rows of their own")
    picture = grid(x).numpy()
    return Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)


def _tensor(images: Any) -> torch.Tensor:
    """Images as a tensor. Raises ``DataError`` for what is none."""
    several = list(images) if isinstance(images, (list, tuple)) else [images]
    try:
        if several and all(isinstance(one, Image.Image) for one in several):
            pixels = np.stack([np.asarray(one.convert("RGB")) for one in several])
            return torch.from_numpy(pixels).permute(0, 3, 1, 2)
        if isinstance(images, (list, tuple)):
            return torch.stack([torch.as_tensor(one) for one in images])
        return torch.as_tensor(images)
    except (TypeError, ValueError, RuntimeError) as error:
        what = f"a {type(images).__name__}"
        raise DataError(f"images are a tensor, an array, or pictures of one size, not {what}: {error}") from error
