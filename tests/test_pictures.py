"""One picture, however it is stored: the same grey, or refused with the reason; and the ink of a photograph."""

import os
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from conftest import ROOT, command
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

import zoo
from zoo.data import pictures
from zoo.data.kinds import image
from zoo.data.splits import load_splits
from zoo.errors import ConfigError, DataError

BLACK_IS, WHITE_IS = 0, 255


def digit(size=28):
    """A three, light on black, its values from 0 to 255."""
    canvas = Image.new("L", (size, size))
    ImageDraw.Draw(canvas).text((size / 2, size / 2), "3", 255, ImageFont.load_default(0.8 * size), "mm")
    values = np.asarray(canvas).copy()
    values[0, 0], values[size // 2, size // 2] = BLACK_IS, WHITE_IS
    return values


def save(path, values, **options):
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(path, **options)
    return path


def read(path, color=False, invert="never", size=(28, 28)):
    return image.read_image(path, size, color, invert)[0].astype(int)


def reason(path):
    """Why a file is refused."""
    with pytest.raises(DataError) as caught:
        image.read_image(path, (28, 28), False)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be read as an image: ")
    assert "\n" not in message
    return message.removeprefix(f"{path} cannot be read as an image: ")


# Depth and range


def png(values, depth, chunks=()):
    """A grey PNG of any depth, with other chunks."""
    height, width = values.shape

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    bits = [np.unpackbits(row.astype(">u2")[:, None].view(np.uint8), axis=1)[:, 16 - depth :].ravel() for row in values]
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    body = b"".join(chunk(*entry) for entry in chunks)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def tiff(values, order="<", photometric=1, tags=()):
    """An uncompressed grey TIFF, of the array's own type, with other tags: (number, type, values)."""
    values = values.astype(values.dtype.newbyteorder(order))
    sample = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    height, width = values.shape
    short, data = 3, values.tobytes()
    entries = [
        (256, short, [width]), (257, short, [height]), (258, short, [8 * values.itemsize]), (259, short, [1]),
        (262, short, [photometric]), (273, 4, [8]), (277, short, [1]), (278, short, [height]),
        (279, 4, [len(data)]), (339, short, [sample]), *tags,
    ]  # fmt: skip
    codes = {3: "H", 4: "I", 11: "f"}
    table = struct.pack(order + "H", len(entries))
    for number, kind, numbers in sorted(entries):
        packed = struct.pack(order + f"{len(numbers)}{codes[kind]}", *numbers)
        table += struct.pack(order + "HHI", number, kind, len(numbers)) + packed.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    return start + data + table + struct.pack(order + "I", 0)


def scaled(white, dtype=np.uint16):
    return (digit() / 255 * white).round().astype(dtype)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_depths_of_png(depth, tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(png(scaled(2**depth - 1), depth))
    assert np.abs(read(path) - digit()).max() <= (255 / (2**depth - 1)) / 2 + 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_fewer_bits_in_sixteen(bits, order, photometric, suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(png(scaled(2**bits - 1), 16) if suffix == "png" else tiff(scaled(2**bits - 1), order, photometric))
    if suffix == "tif" and photometric == 0 and order == ">":
        assert "Pillow does not read" in reason(path)
        return
    expected = 255 - digit() if suffix == "tif" and photometric == 0 else digit()
    assert np.abs(read(path) - expected).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("white", "dtype"),
    [
        *((white, np.int16) for white in (255, 1023, 4095, 16383, 32767)),
        *((white, np.int32) for white in (255, 4095, 65535, 2**31 - 1)),
        *((white, np.uint32) for white in (1, 255, 4095, 65535, 2**32 - 1)),
        *((white, np.float32) for white in (1, 1.001, 255, 1023, 4095, 16383, 65535)),
        (127, np.int8),
        (1, np.uint16),
    ],
)
def test_other_types_of_tiff(white, dtype, order, tmp_path):
    path = tmp_path / "x.tif"
    values = digit() > 127 if white == 1 and dtype != np.float32 else digit() / 255
    path.write_bytes(tiff((values * white).round(0 if dtype != np.float32 else 9).astype(dtype), order))
    if dtype == np.uint32 and order == ">":
        assert "Pillow does not read" in reason(path)
        return
    assert np.abs(read(path) - values * 255).max() <= 1.01


@pytest.mark.parametrize("photometric", [0, 1])
def test_floats_whose_white_is_zero(photometric, tmp_path):
    path = tmp_path / "x.tif"
    path.write_bytes(tiff((digit() / 255).astype(np.float32), "<", photometric))
    assert np.abs(read(path) - (digit() if photometric else 255 - digit())).max() <= 1


@pytest.mark.parametrize(
    ("make", "white"),
    [
        (lambda v: tiff(v, tags=[(281, 3, [65535])]), 65535),
        (lambda v: tiff(v, tags=[(281, 3, [4095])]), 4095),
        (lambda v: tiff(v, tags=[(281, 3, [3000])]), 4095),  # a statistic
        (lambda v: tiff(v, tags=[(341, 3, [16383])]), 16383),
        (lambda v: tiff(v, tags=[(281, 3, [7])]), 1023),  # which is not true
        (lambda v: tiff(v.astype(np.float32), tags=[(341, 11, [65535.0])]), 65535),
        (lambda v: png(v, 16, [(b"sBIT", b"\x10")]), 65535),
        (lambda v: png(v, 16, [(b"gAMA", b"\0\0\x80\0"), (b"sBIT", b"\x0c")]), 4095),
        (lambda v: png(v, 16, [(b"sBIT", b"\x08")]), 1023),  # which is not true
        (lambda v: b"P5 28 28 4095\n" + v.astype(">u2").tobytes(), 4095),
        (lambda v: b"P5 28 28 1000\n" + v.astype(">u2").tobytes(), 1000),
        (lambda v: b"P5 28 28 65535\n" + v.astype(">u2").tobytes(), 1023),  # says nothing
    ],
)
def test_the_file_says_where_white_is(make, white, tmp_path):
    """Values up to 900, which would be taken for ten bits."""
    path = tmp_path / "x"
    path.write_bytes(make(scaled(900)))
    assert abs(read(path).max() - 900 / white * 255) <= 1


REFUSED = {
    "negative": (np.linspace(-1, 1, 64), np.float32, "go down to -1"),
    "signed": (np.linspace(-900, 900, 64), np.int16, "go down to -900"),
    "not a number": (np.array([0, np.nan] * 32), np.float32, "no numbers"),
    "infinite": (np.array([0, np.inf] * 32), np.float32, "no numbers"),
    "all zero": (np.zeros(64), np.uint16, "all its values are 0"),
    "all alike": (np.full(64, 700), np.uint16, "all its values are 700"),
    "few": (np.arange(64) % 10, np.uint16, "go up to 9"),
    "small floats": (np.linspace(0, 7, 64), np.float32, "go up to 7"),
    "huge floats": (np.linspace(0, 1e9, 64), np.float32, "go up to 1e+09"),
    "long": (np.linspace(0, 1e6, 64), np.int32, "go up to 1e+06"),
    "a sliver": (np.linspace(30000, 30100, 64), np.uint16, "from 30000 to 30100"),
    "a sliver of floats": (np.linspace(0.5, 0.501, 64), np.float32, "next to alike"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_without_a_range_are_refused(case, tmp_path):
    values, dtype, said = REFUSED[case]
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(values.reshape(8, 8).astype(dtype)))
    assert said in reason(path)


def test_colours_of_sixteen_bits(tmp_path):
    def color_png(values):
        rows = b"".join(b"\0" + np.repeat(row[:, None], 3, 1).astype(">u2").tobytes() for row in values)
        whole = png(values, 16)
        header = struct.pack(">IIBBBBB", 28, 28, 16, 2, 0, 0, 0)
        parts = []
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            parts.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
        return whole[:8] + b"".join(parts)

    path = tmp_path / "x.png"
    path.write_bytes(color_png(scaled(65535)))
    assert np.abs(read(path) - digit()).max() <= 1
    path.write_bytes(color_png(scaled(4095)))
    assert "16 bits end below 4096" in reason(path)


# Palettes, transparency, colours


def with_alpha(mode, ink, alpha):
    """Ink of one grey level on nothing."""
    picture = Image.merge("LA", [Image.new("L", (28, 28), ink), Image.fromarray(alpha)])
    return picture if mode == "LA" else picture.convert("RGBA").convert(mode)


@pytest.mark.parametrize("ink", [0, 60, 200, 255])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "La", "RGBa", "PA"])
def test_ink_on_nothing_is_seen(mode, ink):
    alpha = digit()
    if mode == "La":
        picture = with_alpha("LA", ink, alpha).convert("La")
    elif mode == "PA":
        picture = with_alpha("RGBA", ink, alpha).convert("PA")
    else:
        picture = with_alpha(mode, ink, alpha)
    pixels, inverted = image.prepare(picture, (28, 28), False, "auto")
    assert inverted == (ink < 128)
    contrast = ink if ink > 127 else 255 - ink
    assert np.abs(pixels[0].astype(int) - alpha.astype(int) * contrast / 255).max() <= 3


@pytest.mark.parametrize("ink", [0, 255])
@pytest.mark.parametrize("kind", ["key", "table"])
def test_a_palette_with_a_transparent_entry(ink, kind, tmp_path):
    picture = Image.fromarray((digit() > 127).astype(np.uint8)).convert("P")
    picture.putpalette([90, 90, 90, ink, ink, ink])
    path = save(tmp_path / "x.png", picture, transparency=0 if kind == "key" else bytes([0, 255]))
    pixels, _ = image.read_picture(path, (28, 28), False, "auto")
    assert np.array_equal(pixels[0], (digit() > 127) * 255)


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_a_palette_of_few_entries(suffix, tmp_path):
    picture = Image.fromarray(digit()).quantize(4)
    expected = np.asarray(picture.convert("L")).astype(int)
    assert np.abs(read(save(tmp_path / f"x.{suffix}", picture)) - expected).max() <= 1


def test_grey_of_sixteen_bits_with_a_transparent_value(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(png(np.where(digit() > 127, 65535, 1000), 16, [(b"tRNS", struct.pack(">H", 1000))]))
    assert np.array_equal(read(path), (digit() > 127) * 255)  # light ink alone is seen


def test_what_has_a_ground_of_its_own_has_it_continued():
    for ground, ink in ((255, 0), (0, 255)):
        card = np.full((28, 28, 2), 255, np.uint8)
        card[..., 0] = np.where(digit() > 127, ink, ground)
        card[:2, :, 1] = 0
        pixels, _ = image.prepare(Image.fromarray(card, "LA"), (28, 28), False)
        assert (pixels[0][:2] == ground).all()


def test_what_cannot_be_seen_is_refused(tmp_path):
    assert "transparent all over" in reason(save(tmp_path / "x.png", Image.new("RGBA", (9, 9), (0, 0, 0, 0))))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"])
@pytest.mark.parametrize("color", [False, True])
def test_modes_in_memory(mode, color):
    grey = Image.fromarray(digit())
    if mode in ("I", "F"):
        picture = Image.fromarray(digit().astype(np.int32 if mode == "I" else np.float32))
    elif mode == "I;16":
        picture = Image.fromarray(digit().astype(np.uint16) * 257)
    elif mode == "LAB":
        picture = Image.merge("LAB", [grey, *[Image.new("L", grey.size, 128)] * 2])  # lightness is no linear grey
    elif mode == "1":
        picture = grey.point(lambda v: 255 * (v > 127)).convert("1")
    else:
        picture = grey.convert(mode) if mode == "P" else grey.convert("RGB").convert(mode)
    pixels, inverted = image.prepare(picture, (28, 28), color)
    assert pixels.shape == (3 if color else 1, 28, 28)
    assert pixels.dtype == np.uint8
    assert not inverted
    assert np.abs(pixels.astype(int) - digit()).max() <= {"1": 128, "LAB": 20}.get(mode, 2)


@pytest.mark.parametrize(
    ("suffix", "mode", "options"),
    [
        ("jpg", "L", {}),
        ("jpg", "RGB", {"subsampling": 0}),
        ("jpg", "CMYK", {}),  # Adobe's, which are inverted
        ("tif", "CMYK", {}),
        ("tif", "LAB", {}),
        ("tif", "YCbCr", {}),
        ("tif", "RGB", {"compression": "tiff_deflate"}),
        ("tif", "1", {"compression": "group4"}),
        ("webp", "RGB", {"lossless": True}),
        ("jp2", "L", {}),
        ("pgm", "L", {}),
        ("pbm", "1", {}),
        ("tga", "L", {}),
        ("pcx", "L", {}),
        ("ico", "RGBA", {}),
    ],
)
def test_formats(suffix, mode, options, tmp_path):
    grey = Image.fromarray(digit(64))
    if mode == "LAB":
        picture = Image.merge("LAB", [grey, *[Image.new("L", grey.size, 128)] * 2])
    elif mode == "CMYK":
        black = Image.new("L", grey.size)
        picture = Image.merge("CMYK", [*[Image.fromarray(255 - digit(64))] * 3, black])
    else:
        picture = grey.convert("RGB").convert(mode) if mode != "1" else grey.convert("1", dither=0)
    options = {"quality": 95, **options} if suffix == "jpg" else options
    found = read(save(tmp_path / f"x.{suffix}", picture, **options), size=(64, 64))
    assert np.abs(found - digit(64)).mean() < 8


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_of_several_pictures_is_read(suffix, tmp_path):
    first, second = Image.fromarray(digit()), Image.new("L", (28, 28), 90)
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"x.{suffix}", first, save_all=True, append_images=[second], **options)
    assert np.abs(read(path) - digit()).max() <= 1


# Metadata


def exif(orientation, broken):
    """EXIF with an orientation, and a resolution of -1/0, or no sense at all."""
    entries = struct.pack("<HHIHH", 274, 3, 1, orientation, 0) + struct.pack("<HHII", 282, 10, 1, 38)
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + struct.pack("<I", 0) + struct.pack("<ii", -1, 0)
    return b"Exif\0\0" + {"resolution": block, "cut": block[:20], "nonsense": b"\xff" * 40, "nothing": b""}[broken]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("broken", ["resolution", "cut", "nonsense", "nothing"])
def test_broken_exif_is_no_reason_to_refuse(broken, suffix, tmp_path):
    options = {"quality": 98} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"x.{suffix}", Image.fromarray(digit()), exif=exif(6, broken), **options)
    turned = np.rot90(digit(), -1)
    assert np.abs(read(path) - (turned if broken == "resolution" else digit())).mean() < 3


@pytest.mark.parametrize("orientation", [0, *range(1, 9), 9, 999])
@pytest.mark.parametrize("deep", [False, True])
def test_tiff_is_turned_once(orientation, deep, tmp_path):
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(scaled(4095) if deep else digit(), tags=[(274, 3, [orientation])]))
    method = pictures.UPRIGHT.get(orientation)
    turned = Image.fromarray(digit()) if method is None else Image.fromarray(digit()).transpose(method)
    assert np.abs(read(path) - np.asarray(turned)).max() <= 1


def test_gamma_and_profiles_are_ignored(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(png(digit().astype(np.uint16), 8, [(b"gAMA", struct.pack(">I", 100000))]))
    assert np.array_equal(read(path), digit())
    assert np.array_equal(read(save(path, digit(), icc_profile=b"no profile")), digit())


# What is refused


def test_what_is_no_picture(tmp_path):
    whole = save(tmp_path / "whole.png", digit()).read_bytes()
    for name, content, said in (
        ("empty.png", b"", "it is empty"),
        ("text.png", b"I am no picture", "damaged, no image"),
        ("cut.png", whole[:-40], "damaged"),
        ("head.png", whole[:20], "damaged"),
        ("wrong.png", whole[:60] + bytes(20) + whole[80:], "damaged"),
        ("none.pgm", b"P5 0 9 255\n", "damaged, no image"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert said in reason(path)
    (tmp_path / "folder.png").mkdir()
    assert reason(tmp_path / "folder.png") == "it is a folder"
    assert reason(tmp_path / "none.png") == "no such file"
    os.mkfifo(tmp_path / "pipe.png")
    assert reason(tmp_path / "pipe.png") == "it is no regular file"
    assert reason(tmp_path / "whole.png" / "x.png") == "Not a directory"


def test_what_may_not_be_read(tmp_path, monkeypatch):
    """As the system says it, which denies nothing to root."""
    path = save(tmp_path / "x.png", digit())

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pictures.Image, "open", denied)
    assert reason(path) == "Permission denied"


@pytest.mark.parametrize("suffix", ["png", "bmp", "pgm", "gif"])
@pytest.mark.parametrize("size", [(20_000, 20_000), (11_000, 11_000)])
def test_too_large_is_not_damaged(size, suffix, tmp_path):
    width, height = size
    path = tmp_path / f"x.{suffix}"
    if suffix == "png":
        whole = png(np.zeros((1, 1)), 8)
        header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        content = whole[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]
    elif suffix == "bmp":
        save(path, digit())
        content = bytearray(path.read_bytes())
        content[18:26] = struct.pack("<ii", width, height)
    elif suffix == "gif":
        save(path, digit())
        content = bytearray(path.read_bytes())
        content[6:10] = struct.pack("<HH", width, height)
    else:
        content = f"P5 {width} {height} 255\n".encode() + bytes(100)
    path.write_bytes(bytes(content))
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # as zoo.data.pictures has it, but pytest resets that
        assert reason(path) == f"it has {width:,} × {height:,} pixels, more than the 50,000,000 that are read"
    assert not caught


def test_names_that_are_no_text(tmp_path):
    for name in (b"M\xfcller.png", b"scan[front].png", b"q[b]'\"\n.png"):
        path = type(tmp_path)(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        path.write_bytes(b"")
        with pytest.raises(DataError) as caught:
            image.read_image(path, (28, 28), False)
        assert str(caught.value) == f"{path} cannot be read as an image: it is empty"


def test_pillows_warnings_do_not_reach_the_terminal(tmp_path):
    path = save(tmp_path / "x.jpg", Image.fromarray(digit()), exif=exif(6, "cut"))
    picture = Image.fromarray((digit() > 127).astype(np.uint8)).convert("P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    other = save(tmp_path / "y.png", picture, transparency=bytes([0, 255]))
    result = command("scripts/predict.py", f"ckpt={ROOT / 'pretrained' / 'cnn-mnist'}", str(path), str(other))
    assert result.returncode == 0
    assert result.stderr == ""


@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1), (1, 20_000), (2, 3)])
@pytest.mark.parametrize("frame", ["picture", "ink"])
def test_extreme_shapes(shape, frame):
    noise = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    for values in (np.full(shape, 90, np.uint8), noise):
        pixels, _ = image.prepare(Image.fromarray(values), (28, 28), False, "auto", frame)
        assert pixels.shape == (1, 28, 28)
    with pytest.raises(DataError, match="the picture cannot be read as an image: it has no pixel"):
        image.prepare(Image.new("L", (0, 5)), (28, 28), False)


# Ink


@pytest.fixture(scope="module")
def classifier():
    return zoo.load(ROOT / "pretrained" / "cnn-mnist")


@pytest.fixture(scope="module")
def digits(classifier):
    """Digits as MNIST's: drawn by a model that learned from them, those of which the classifier is sure."""
    generator = torch.Generator().manual_seed(0)
    drawn = zoo.sample(zoo.load(ROOT / "pretrained" / "dcgan-mnist"), 80, generator=generator)
    probability, labels = zoo.classify(classifier, drawn).exp().max(1)
    sure = probability > 0.999
    return image.encode(drawn)[sure][:40, 0].numpy(), labels[sure][:40].numpy()


def enlarged(values, size):
    return np.asarray(Image.fromarray(values).resize((size, size), Image.Resampling.BICUBIC)) / 255


def drawn(values, ink, paper):
    return (paper + (ink - paper) * values).round()


def on_a_page(values, ink, paper, size=220, page=(300, 400), at=(40, 150)):
    whole = np.zeros(page)
    whole[at[0] : at[0] + size, at[1] : at[1] + size] = enlarged(values, size)
    return drawn(whole, ink, paper)


def unevenly_lit(values):
    return values * np.linspace(0.6, 1.1, values.shape[1])


def noisy(values, level=6):
    return values + np.random.default_rng(0).normal(0, level, values.shape)


def shadowed(values):
    columns = np.arange(values.shape[1])
    return values * (1 - 0.3 / (1 + np.exp(-(columns - 260) / 12)))


PHOTOGRAPHS = {
    "dark on grey": lambda v: drawn(v / 255, 60, 200),
    "light on dark grey": lambda v: drawn(v / 255, 200, 60),
    "faint": lambda v: drawn(v / 255, 120, 150),
    "enlarged": lambda v: drawn(enlarged(v, 280), 60, 200),
    "small": lambda v: on_a_page(v, 60, 200, 70),
    "on a page": lambda v: on_a_page(v, 60, 200),
    "light on a page": lambda v: on_a_page(v, 180, 50),
    "white page": lambda v: on_a_page(v, 0, 255),
    "black page": lambda v: on_a_page(v, 255, 0),
    "unevenly lit": lambda v: unevenly_lit(on_a_page(v, 70, 190)),
    "noisy": lambda v: noisy(on_a_page(v, 70, 190)),
    "blurred": lambda v: ndimage.gaussian_filter(on_a_page(v, 70, 190), 4),
    "shadow": lambda v: noisy(shadowed(on_a_page(v, 60, 200)), 3),
    "turned": lambda v: ndimage.rotate(on_a_page(v, 70, 190), 8, reshape=False, mode="nearest"),
    "in colour": lambda v: np.stack([on_a_page(v, *pair) for pair in ((40, 200), (60, 195), (150, 180))], -1),
}


@pytest.mark.parametrize("kind", PHOTOGRAPHS)
def test_a_photographed_digit_is_what_it_was(kind, digits, classifier):
    values, labels = digits
    read = [
        image.prepare(
            Image.fromarray(PHOTOGRAPHS[kind](one).clip(0, 255).astype(np.uint8)), (28, 28), False, "auto", "ink"
        )
        for one in values
    ]
    assert all(inverted == ("light" not in kind and kind != "black page") for _, inverted in read)
    pixels = torch.from_numpy(np.stack([pixels for pixels, _ in read]))
    found = zoo.classify(classifier, image.decode(pixels)).argmax(1).numpy()
    assert (found == labels).mean() >= 0.97, np.flatnonzero(found != labels)


@pytest.mark.parametrize("invert", ["auto", "always", "never"])
@pytest.mark.parametrize("frame", ["picture", "ink"])
def test_pictures_framed_already_come_back_exactly(invert, frame, digits, tmp_path):
    for one in digits[0][:10]:
        for values, dark in ((one, False), (255 - one, True)):
            path = save(tmp_path / "x.png", values)
            pixels, inverted = image.read_picture(path, (28, 28), False, invert, frame)
            assert inverted == (invert == "always" or (invert == "auto" and dark))
            assert np.array_equal(pixels[0], 255 - values if inverted else values)


def test_ink_is_framed_as_mnist_frames_it(digits):
    for one in digits[0][:10]:
        page = Image.fromarray(on_a_page(one, 60, 200).astype(np.uint8))
        pixels = image.prepare(page, (28, 28), False, "auto", "ink")[0][0].astype(float)
        rows, columns = (np.flatnonzero((pixels > 0).any(axis)) for axis in (1, 0))
        assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
        for axis in (0, 1):
            middle = (pixels.sum(1 - axis) * np.arange(28)).sum() / pixels.sum()
            assert abs(middle - 14) <= 0.55
        assert pixels.max() == 255
        assert np.median(pixels) == 0


@pytest.mark.parametrize("shape", [(16, 16), (32, 20)])
def test_frames_of_other_sizes(shape, digits):
    page = Image.fromarray(on_a_page(digits[0][0], 60, 200).astype(np.uint8))
    assert image.prepare(page, shape, False, "auto", "ink")[0].shape == (1, *shape)


def test_what_touches_the_edge_is_no_ink(digits):
    page = on_a_page(digits[0][0], 60, 200)
    expected = image.prepare(Image.fromarray(page.astype(np.uint8)), (28, 28), False, "auto", "ink")[0]
    page[-30:, :60] = 40  # a finger
    page[20:23, 20:23] = 60  # a speck
    found = image.prepare(Image.fromarray(page.astype(np.uint8)), (28, 28), False, "auto", "ink")[0]
    assert np.abs(found.astype(int) - expected).mean() < 4


def test_no_ink_is_shown_as_it_is():
    for values in (np.full((50, 50), 180, np.uint8), noisy(np.full((50, 50), 120.0), 2).astype(np.uint8)):
        plain, framed = (image.prepare(Image.fromarray(values), (28, 28), False, "auto", f) for f in ("picture", "ink"))
        assert np.array_equal(plain[0], framed[0])


def test_ink_has_no_colour(tmp_path):
    with pytest.raises(ConfigError, match="frame=ink is for grey"):
        image.prepare(Image.new("RGB", (9, 9)), (28, 28), True, frame="ink")
    with pytest.raises(ConfigError, match=r"data\.color=grey"):
        load_splits("image_folder", tmp_path, path=tmp_path, frame="ink", color="color")


def test_photographs_train_a_model_of_ink(digits, tmp_path):
    for number, (one, label) in enumerate(zip(*digits, strict=True)):
        folder = tmp_path / "in" / str(label % 2)
        folder.mkdir(parents=True, exist_ok=True)
        save(
            folder / f"{number}.png", np.stack([on_a_page(one, ink, 200) for ink in (60, 70, 80)], -1).astype(np.uint8)
        )
    splits = load_splits("image_folder", tmp_path / "root", path=tmp_path / "in", frame="ink")
    assert splits.spec.settings == {"invert": "auto", "frame": "ink"}
    assert splits.spec.shape == (1, 28, 28)
    assert splits.spec.mean[0] < 0.25


def test_a_model_of_mnist_says_how_its_pictures_stand(classifier):
    assert classifier.spec.settings == {"invert": "auto", "frame": "ink"}
    assert zoo.load(ROOT / "pretrained" / "cnn-fashion_mnist").spec.settings == {"invert": "auto", "frame": "picture"}
