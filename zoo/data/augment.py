"""Random changes to stored training examples, a batch at a time: pictures and recordings."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.base.fill import local_mean
from zoo.data import kinds
from zoo.errors import ConfigError

OF_KIND = {"image": ("shift", "rotate", "scale", "flip", "erase", "hide"), "sound": ("shift", "pace", "warp", "masks")}
MASKED = 0.2  # of the columns, or rows, that a mask hides at most


@dataclass(frozen=True)
class Augment:
    """Random changes to training examples, drawn anew for each example and epoch.

    Attributes:
        shift: of pictures: move by up to that many pixels each way, black moving in; of recordings: by up to that many
            columns earlier or later, the first or the last one being held.
        rotate: turn by up to that many degrees each way about the middle, black turning in.
        scale: make larger or smaller by up to that share: 0.1 is a factor from e^-0.1 to e^0.1.
        flip: mirror left and right with probability one half.
        erase: probability that a random rectangle (2–33 % of the area, aspect 0.3–3.3) becomes noise
            (Zhong et al. 2020, Random Erasing Data Augmentation).
        hide: a share of each image is hidden, drawn uniformly from 0 to this, and filled in with the mean of the seen
            pixels around: with probability one half single pixels anywhere, else all along one of the four sides. A
            classifier learns from it to be asked about images of which pixels, or halves, are missing.
        pace: of recordings: speak up to so much faster or slower, as a share: 0.15 is a factor from e^-0.15 to e^0.15.
        warp: of spectra: make all frequencies higher or lower by up to that share of the mel scale, as a shorter or a
            longer throat does (Jaitly & Hinton 2013, Vocal tract length perturbation improves speech recognition).
        masks: of recordings: that many stretches of time, and of spectra as many bands of frequencies, each up to a
            fifth of all, become their mean (Park et al. 2019, SpecAugment).

    Raises:
        ConfigError: a negative number, a probability that is none, or a share that leaves nothing to be seen.
    """

    shift: int = 0
    rotate: float = 0.0
    scale: float = 0.0
    flip: bool = False
    erase: float = 0.0
    hide: float = 0.0
    pace: float = 0.0
    warp: float = 0.0
    masks: int = 0

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise ConfigError(f"data.augment.shift must be at least 0 pixels, not {self.shift}")
        if not 0 <= self.rotate <= 180:
            raise ConfigError(f"data.augment.rotate is an angle from 0 to 180 degrees, not {self.rotate}")
        if not 0 <= self.erase <= 1:
            raise ConfigError(f"data.augment.erase is a probability, from 0 to 1, not {self.erase}")
        if not 0 <= self.hide < 1:
            raise ConfigError(f"data.augment.hide is a share below 1 of an image's pixels, not {self.hide}")
        for name in ("scale", "pace", "warp"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"data.augment.{name} is a share from 0 to below 1, not {getattr(self, name)}")
        if self.masks < 0:
            raise ConfigError(f"data.augment.masks must be at least 0, not {self.masks}")

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        """What is asked for: ``shift=2, flip=true``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{name}={str(value).lower()}" for name, value in values.items() if value)

    def check(self, kind: str, channels: int) -> None:
        """Raise ``ConfigError`` where examples of a kind are to be changed in a way that is not for them."""
        asked = [field.name for field in fields(self) if getattr(self, field.name)]
        known = OF_KIND.get(kind, ())
        for name in asked:
            if not known:
                raise ConfigError(
                    f"data.augment changes pictures and recordings, which data of the kind {kind} has none of"
                )
            if name not in known:
                raise ConfigError(
                    f"data.augment.{name} is not for {kinds.find(kind).NOUN}s, which have {', '.join(known)}"
                )
        if self.warp and channels > 1:
            raise ConfigError(
                "data.augment.warp is for spectra, data.features=log_mel: rows of cepstra are no frequencies"
            )

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Stored examples ``(B, C, H, W)``, uint8 of pictures, to the same; the random numbers come from ``generator``
        alone."""
        if x.is_floating_point():
            return self._spoken(x, generator)
        if self.rotate or self.scale:
            x = self._turned(x, generator)
        if self.flip or self.shift:
            x = self._moved(x, generator)
        if self.erase:
            x = self._erased(x, generator)
        if self.hide:
            x = local_mean(x, self._seen(x, generator), torch.zeros_like(x[:1]))
        return x

    # Recordings

    def _spoken(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Earlier or later, faster or slower, by a longer or a shorter throat, and with holes."""
        batch, channels, height, width = x.shape
        u = torch.rand(3, batch, 1, generator=generator, device=x.device) * 2 - 1
        columns, rows = (torch.arange(size, device=x.device, dtype=x.dtype) for size in (width, height))
        missing = x.isnan().flatten(1, 2).all(1)
        gaps = bool(missing.any())
        x = x.nan_to_num(0) if gaps else x
        if self.shift or self.pace:
            shift, factor = (self.shift * u[0]).round(), (self.pace * u[1]).exp()
            if gaps:  # recordings end before the last column: they begin at the first one
                last = ((~missing) * (columns + 1)).amax(1, keepdim=True) - 1
                place = (columns - shift) / factor
                missing = place > last + 0.5
            else:
                last, middle = columns[-1], (width - 1) / 2
                place = middle + (columns - middle - shift) / factor
            x = x @ _between(place.clamp_min(0).minimum(last), width).mT[:, None]
        if self.warp:
            x = _between((rows * (self.warp * u[2]).exp()).clamp_max(height - 1), height)[:, None] @ x
        for _ in range(self.masks):
            x = x * ~_stretch(batch, width, x, generator)[:, None, None]
            if channels == 1:
                x = x * ~_stretch(batch, height, x, generator)[:, None, :, None]
        return x.masked_fill(missing[:, None, None], math.nan) if gaps else x

    # Pictures

    def _turned(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Turned and scaled about the middle, on the planes between four pixels: where each pixel comes from."""
        batch, _, height, width = x.shape
        u = torch.rand(2, batch, generator=generator, device=x.device) * 2 - 1
        angle, shrink = math.radians(self.rotate) * u[0], (self.scale * u[1]).exp()
        cos, sin, zero = shrink * angle.cos(), shrink * angle.sin(), torch.zeros_like(angle)
        # rows and columns go from -1 to 1 whatever their number: a turn is one in pixels
        to = torch.stack([cos, -sin * (height / width), zero, sin * (width / height), cos, zero], 1).view(batch, 2, 3)
        grid = F.affine_grid(to, list(x.shape), align_corners=False)
        return F.grid_sample(x.float(), grid, align_corners=False).round_().to(torch.uint8)

    def _moved(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Mirror and shift together: each row of pixels is a piece of the row that it comes from, in a padded image or
        in its mirror image. To name rows takes less memory than to name pixels, and less time."""
        batch, channels, height, width = x.shape
        reach, device = self.shift, x.device
        tall, wide = height + 2 * reach, width + 2 * reach
        images = batch * channels * tall * wide  # values of all of them, padded
        rows_of = _rows(batch, channels, height, width, reach, device)
        if self.flip:
            mirrored = torch.rand(batch, 1, 1, 1, generator=generator, device=device) < 0.5
            rows_of = rows_of + images * mirrored.view(-1, 1)
        if reach:
            rows, columns = torch.randint(2 * reach + 1, (2, batch, 1), generator=generator, device=device)
            rows_of = rows_of + rows.mul_(wide).add_(columns)
        padded = x.new_zeros((1 + self.flip) * images)
        inner = (batch, channels, height, width), (channels * tall * wide, tall * wide, wide, 1)
        corner = reach * wide + reach
        padded.as_strided(*inner, corner).copy_(x)
        if self.flip:
            padded.as_strided(*inner, images + corner).copy_(x.flip(3))
        pieces = padded.as_strided((len(padded) - width + 1, width), (1, 1))
        return pieces.index_select(0, rows_of.flatten()).view(x.shape)

    def _erased(self, x: Tensor, generator: torch.Generator) -> Tensor:
        batch, _, height, width = x.shape
        u = torch.rand(5, batch, generator=generator, device=x.device)
        area = (0.02 + 0.31 * u[0]) * (height * width)
        aspect = torch.exp(math.log(0.3) + (math.log(3.3) - math.log(0.3)) * u[1])
        tall, wide = (area * aspect).sqrt().clamp(1, height), (area / aspect).sqrt().clamp(1, width)
        top, left = u[2] * (height - tall), u[3] * (width - wide)
        rows = torch.arange(height, device=x.device) + 0.5
        columns = torch.arange(width, device=x.device) + 0.5
        in_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
        in_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
        hit = (u[4] < self.erase)[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
        noise = torch.randint(256, x.shape, dtype=torch.uint8, generator=generator, device=x.device)
        return x + (noise - x) * hit[:, None]  # modulo 256, which torch.where needs thirty times as long for

    def _seen(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Which pixels stay, bool ``(B, 1, H, W)``: of each image one at least."""
        batch, _, height, width = x.shape
        share = self.hide * torch.rand(batch, 1, 1, generator=generator, device=x.device)
        kind = torch.randint(8, (batch,), generator=generator, device=x.device)
        order = torch.rand(batch, height, width, generator=generator, device=x.device)  # the first ones are hidden
        rows = ((torch.arange(height, device=x.device)[:, None] + 0.5) / height).expand(height, width)
        columns = ((torch.arange(width, device=x.device) + 0.5) / width).expand(height, width)
        sides = torch.stack([rows, rows.flip(0), columns, columns.flip(1)])
        order = torch.where(kind[:, None, None] < 4, sides[kind % 4], order)
        return (order >= torch.minimum(share, order.amax((1, 2), keepdim=True)))[:, None]


@functools.lru_cache(maxsize=8)  # batches are of two sizes, and to count takes as long as to move
def _rows(batch: int, channels: int, height: int, width: int, reach: int, device: torch.device) -> Tensor:
    """Where each row of pixels begins that is neither moved nor mirrored, of padded images in one row of memory with
    their upper left corner as the origin: int64 ``(B, C H)``."""
    tall, wide = height + 2 * reach, width + 2 * reach
    planes = torch.arange(0, batch * channels * tall * wide, tall * wide, device=device)
    return (planes[:, None] + torch.arange(0, height * wide, wide, device=device)).view(batch, -1)


def _between(places: Tensor, size: int) -> Tensor:
    """How much each of ``size`` values in a row counts at real ``places`` ``(B, n)``, on the lines between neighbours:
    ``(B, n, size)``."""
    row = torch.arange(size, dtype=places.dtype, device=places.device)
    return (1 - (places[..., None] - row).abs()).clamp_min(0)


def _stretch(batch: int, size: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """A stretch of up to ``MASKED`` of ``size`` places for each example, bool ``(batch, size)``."""
    u = torch.rand(2, batch, 1, generator=generator, device=like.device)
    length = u[0] * MASKED * size
    start = u[1] * (size - length)
    places = torch.arange(size, device=like.device)
    return (places >= start) & (places < start + length)
