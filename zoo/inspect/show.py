"""Images in memory as a picture, for a notebook."""

from __future__ import annotations

import math
from typing import Any

import torch
from PIL import Image

from zoo.errors import DataError
from zoo.inspect.grids import grid, in_rows

MOST = 1024  # images in a picture


def show(images: Any, columns: int | None = None) -> Image.Image:
    """Images as one picture, which a notebook shows, and ``.save("them.png")`` writes.

    >>> import torch, zoo
    >>> zoo.show(torch.rand(6, 1, 28, 28), columns=3).size
    (180, 122)

    Args:
        images: ``(N, C, H, W)``, ``(C, H, W)`` or ``(H, W)`` in [0, 1], or uint8 levels; with rows and columns of their
            own ``(R, K, C, H, W)``, such as completions ``(n, N, C, H, W)`` of ``zoo.impute``. Tensors or arrays. Of
            channels that are no colours the first one is shown.
        columns: images in a row; about as many as there are rows if left out.

    Raises:
        DataError: what has another number of axes, no image, or more than 1,024 of them.
    """
    x = torch.as_tensor(images)
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
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
