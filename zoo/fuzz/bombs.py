"""Small files that ask for time or memory without end: each a function that writes one, and the reader to be asked."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import zoo
from zoo import checkpoint
from zoo.data import idx, kinds, texts
from zoo.data.kinds import image
from zoo.data.kinds.sound import Reading, read_file
from zoo.fuzz.readers import Reader, content_of, model_of, saved, zipped
from zoo.spec import DataSpec

Bomb = tuple[Callable[[Path], object], Callable[[Path], object]]  # writes files into a folder; reads them there
MANY = 10**9


def bombs(readers: Mapping[str, Reader]) -> dict[str, Bomb]:
    """All bombs by name. ``readers``: of files that are right, which some are made from."""
    found: dict[str, Bomb] = {}
    for name, write in (_archives() | _pickles() | _options()).items():
        found[f"checkpoint: {name}"] = (write, lambda at: zoo.load(at / "a.ckpt"))
    for name, change in _released().items():
        found[f"release: {name}"] = (partial(_release, readers["release of mlp"], change), zoo.load)
    for name, content in _pictures().items():
        found[f"picture: {name}"] = (
            partial(_put, "a.png", content),
            lambda at: image.read_picture(at / "a.png", (8, 8), False, "auto", "ink"),
        )
    for name, content in _recordings().items():
        found[f"recording: {name}"] = (
            partial(_put, "a.wav", content), lambda at: read_file(at / "a.wav", Reading(steps=8)),
        )  # fmt: skip
    for name, content in _idx().items():
        found[f"IDX: {name}"] = (partial(_put, "a.gz", content), lambda at: idx.read_idx(at / "a.gz", whole=True))
    for name, file, content in _texts():
        reader = _READERS[file]
        found[f"{reader}: {name}"] = (
            partial(_among, readers[reader], file, content), readers[reader].read,
        )  # fmt: skip
    cache = readers["cache of pictures"]
    for end, whole in (("images.npy", _npy(10**12)), ("records.npy", _npy(10**12)), ("meta.json", b"[" * 10**6)):
        file = next(name for name in cache.files if name.endswith(end))
        found[f"cache of pictures: {end}"] = (partial(_among, cache, file, partial(bytes, whole)), cache.read)
    for what in ("pipe", "device", "endless link"):
        for name, read in _ANY.items():
            found[f"no file: {what} as {name}"] = (partial(_no_file, what, name), read)
    return found


def _recordings() -> dict[str, Callable[[], bytes]]:
    """What is little in a file and much in memory, or says that it is."""

    def wav(rate: int, channels: int, said: int, there: int) -> bytes:
        size = 2 * channels
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * size % 2**32, size, 16)
        head = b"RIFF" + struct.pack("<I", 36 + said) + b"WAVE" + form + b"data" + struct.pack("<I", said)
        return head + b"\x10" * there

    def flac(seconds: int) -> bytes:
        import soundfile

        file = io.BytesIO()
        soundfile.write(file, np.ones(48_000 * seconds, np.int16), 48_000, format="FLAC")
        return file.getvalue()

    return {
        "four billion bytes in 44": partial(wav, 8000, 1, 2**32 - 50, 0),
        "a thousand channels": partial(wav, 8000, 1000, 2**31, 10**6),
        "hours at a rate of 1,000": partial(wav, 1000, 1, 2**25, 2**25),
        "a rate of four billion": partial(wav, 2**32 - 1, 1, 2**20, 2**20),
        "rates without a common measure": partial(wav, 47_999, 1, 2**22, 2**22),
        "half an hour of the same": partial(flac, 1800),
        "five minutes of the same": partial(flac, 300),
    }


_ARCHIVE = "german-credit/statlog+german+credit+data.zip"
_READERS = {
    "a.csv": "table", "models.json": "table of models", "config.yaml": "run's config", "texts.csv": "table of texts",
    "a/1.txt": "folder of texts", "a.txt": "texts, a line each", "sms-spam/SMSSpamCollection": "published texts",
    _ARCHIVE: "published archive",
}  # fmt: skip


def _put(name: str, content: Callable[[], bytes], at: Path) -> None:
    (at / name).write_bytes(content())


def _among(reader: Reader, file: str, content: Callable[[], bytes], at: Path) -> None:
    for name, whole in {**reader.files, file: content()}.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(whole)


def _release(reader: Reader, change: Callable[[Path], object], at: Path) -> None:
    for name, content in reader.files.items():
        (at / name).write_bytes(content)
    change(at)


# What is no file

_ANY: dict[str, Callable[[Path], object]] = {
    "a.ckpt": lambda at: zoo.load(at / "a.ckpt"),
    "best.ckpt": zoo.load,
    "config.json": zoo.load,
    "model.safetensors": lambda at: checkpoint.read_tensors(at / "model.safetensors"),
    "a.gz": lambda at: idx.read_idx(at / "a.gz"),
    "a.png": lambda at: image.read_picture(at / "a.png", (8, 8), False),
    "a.wav": lambda at: read_file(at / "a.wav", Reading(steps=8)),
    "a.csv": lambda at: kinds.find("table").read([at / "a.csv"], DataSpec((1, 1, 2), 2, kind="table", values="real")),
    "a.txt": lambda at: texts.read(at / "a.txt"),
}


def _no_file(what: str, name: str, at: Path) -> None:
    if what == "pipe":
        os.mkfifo(at / name)
    else:
        (at / name).symlink_to("/dev/zero" if what == "device" else name)


# Archives


def _write(content: Any, at: Path) -> None:
    (at / "a.ckpt").write_bytes(saved(content))


def _right() -> dict[str, Any]:
    return content_of(model_of("mlp"))


def _zip(entries: Mapping[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as members:
        for name, content in entries.items():
            members.writestr(f"a/{name}", content)
    return file.getvalue()


def _archives() -> dict[str, Callable[[Path], object]]:
    def deflated(at: Path) -> None:
        with zipfile.ZipFile(at / "a.ckpt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as members:
            members.writestr("a/data.pkl", pickle.dumps({}, 2))
            with members.open("a/data/0", "w", force_zip64=True) as entry:
                for _ in range(64):
                    entry.write(bytes(2**22))

    def promising(at: Path) -> None:
        content = bytearray(_zip({"data.pkl": pickle.dumps({}, 2), "data/0": b"1234"}))
        place = content.rindex(b"PK\x01\x02")
        struct.pack_into("<II", content, place + 20, 2**31 - 1, 2**31 - 1)
        (at / "a.ckpt").write_bytes(content)

    def overlapping(at: Path) -> None:
        """A thousand entries in one place."""
        content = _zip(
            {"data.pkl": pickle.dumps({}, 2), **{f"data/{n}": b"" for n in range(1000)}, "big": bytes(10**6)}
        )
        (at / "a.ckpt").write_bytes(content)
        change = bytearray(content)
        big = content.rindex(b"PK\x01\x02")
        fields = content[big + 16 : big + 28], content[big + 42 : big + 46]
        place = content.index(b"PK\x01\x02")
        while (place := content.find(b"PK\x01\x02", place + 1)) >= 0:
            change[place + 16 : place + 28], change[place + 42 : place + 46] = fields
        (at / "a.ckpt").write_bytes(change)

    def long_directory(at: Path) -> None:
        entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
        directory = entry * 500_000
        end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(directory), 0, 0)
        (at / "a.ckpt").write_bytes(directory + end)

    def beyond(at: Path) -> None:
        """A tensor says that its four bytes are four billion values."""
        content = saved({**_right(), "extra": torch.zeros(1)})
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            entries = {member.filename.partition("/")[2]: members.read(member) for member in members.infolist()}
        code = entries["data.pkl"]
        place = code.rindex(b"X\x03\x00\x00\x00cpu")
        tail = code[place:]
        where = place + tail.index(b"K\x01")
        entries["data.pkl"] = code[:where] + b"J\xff\xff\xff\x7f" + code[where + 2 :]
        (at / "a.ckpt").write_bytes(_zip(entries))

    def sparse(at: Path) -> None:
        with (at / "a.ckpt").open("wb") as file:
            file.truncate(2**40)

    return {"compressed entries": deflated, "an entry of 2 GB in a small file": promising, "a directory of 500,000":
            long_directory, "entries that are one another": overlapping, "values beyond the file": beyond,
            "a terabyte of nothing": sparse}  # fmt: skip


# Pickles


def _pickled(code: bytes) -> Callable[[Path], object]:
    entries = {"data.pkl": code, "byteorder": b"little", "version": b"3\n"}
    return lambda at: (at / "a.ckpt").write_bytes(_zip(entries))


def _pickles() -> dict[str, Callable[[Path], object]]:
    def laughs(make: Callable[[Any], Any]) -> Callable[[Path], object]:
        def write(at: Path) -> None:
            value: Any = make(("a", "b"))
            for _ in range(60):
                value = make((value, value))
            content = _right()
            content["zoo"]["model"]["options"]["hidden_sizes"] = value
            _write(content, at)

        return write

    def itself(at: Path) -> None:
        content, loop = _right(), []  # type: ignore[var-annotated]
        loop.append(loop)
        content["zoo"]["model"]["options"]["hidden_sizes"] = loop
        _write(content, at)

    def expanded(at: Path) -> None:
        content = _right()
        content["zoo"]["model"]["options"]["hidden_sizes"] = [MANY]
        content["state_dict"]["model.body.0.weight"] = torch.zeros(1).expand(MANY, 64)
        _write(content, at)

    text = ["a" * 10**6] * 10**5
    key = b"(K\x01K\x02t" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60))
    many_lists = b"\x80\x02](" + b"]" * 3_500_000 + b"e."
    ones = b"K\x01" * 60_000
    copied = b"\x80\x02%sctorch\nSize\nq\x01](" + b"h\x01h\x00\x85R" * 4000 + b"e\x87."
    call = b"\x80\x02c%s\n(J\x00\x94\x35\x77tR."  # of 2·10⁹
    return {
        "lists in lists, shared": laughs(list),
        "tuples in tuples, shared": laughs(tuple),
        "a list in itself": itself,
        "a key of 2⁶⁰ parts": _pickled(b"\x80\x02}" + key + b"K\x01s."),
        "lists, a million deep": _pickled(b"\x80\x02" + b"](" * 10**6 + b"e" * 10**6 + b"."),
        "a text of 1 MB, 100,000 times": partial(_write, {**_right(), "text": text}),
        "three million lists": _pickled(many_lists),
        "a list, copied 4,000 times": _pickled(copied % (b"]q\x00(" + ones + b"e")),
        "a tuple, copied 4,000 times": _pickled(copied % (b"(" + ones + b"tq\x00")),
        "a pickle of 100 MB": _pickled(b"\x80\x02" + b"N0" * 50_000_000 + b"N."),
        "two billion bytes from a call": _pickled(call % b"builtins\nbytearray"),
        "two billion values from a call": _pickled(call % b"torch\nTensor"),
        "a number of a million digits": _pickled(b"\x80\x02L" + b"9" * 10**6 + b"L\n."),
        "a tensor that is one value": expanded,
    }


# Options


def _options() -> dict[str, Callable[[Path], object]]:
    changes: list[tuple[str, str, Any]] = [
        ("mlp", "hidden_sizes", [MANY]), ("mlp", "hidden_sizes", [60_000, 60_000]),
        ("mlp", "hidden_sizes", [1] * 50_000),
        ("cnn", "channels", [MANY, 2]), ("cnn", "channels", [4] * 3000), ("gmm", "num_components", 10**7),
        ("hmm", "num_states", 10**5), ("hmm", "num_states", MANY), ("vae", "latent_dim", MANY),
        ("vae", "hidden_sizes", [10**6]), ("dcgan", "channels", 10**6), ("dcgan", "latent_dim", MANY),
        ("svm", "num_features", MANY), ("lenet", "num_features", MANY), ("rnn", "hidden_size", 10**6),
        ("m2", "latent_dim", MANY), ("vae", "num_samples", MANY), ("vae", "blocks", MANY),
        ("svm", "num_features", 10**7),
    ]  # fmt: skip
    found: dict[str, Callable[[Path], object]] = {}
    for name, option, value in changes:
        shown = str(value) if len(str(value)) < 30 else f"{len(value)} entries"
        found[f"{name} of {option}={shown}"] = partial(_with, name, ("options", option), value)
    flow = {"prior": "realnvp", "flow_layers": MANY}
    found["vae of 10⁹ layers of a flow"] = partial(_with, "vae", ("options",), flow)
    specs = {"10⁹ classes without names": ([1, 8, 8], MANY), "a million classes without names": ([1, 8, 8], 10**6),
             "10⁹ channels": ([MANY, 1, 1], 3), "1.6·10⁹ pixels": ([1, 40_000, 40_000], 3)}  # fmt: skip
    for what, (shape, classes) in specs.items():
        for name in ("naive_bayes", "gmm", "mlp", "probe"):
            spec = {"shape": shape, "num_classes": classes}
            found[f"{name} of {what}"] = partial(_with, name, ("spec",), spec)

    def nested(depth: int, at: Path) -> None:
        content = content_of(model_of("probe"))
        inner = content["zoo"]["model"]
        for _ in range(depth):
            inner = {"name": "probe", "spec": inner["spec"], "options": {"encoder": inner}}
        content["zoo"]["model"] = inner
        _write(content, at)

    found["a probe in 14 probes"] = partial(nested, 14)
    found["a probe in 60 probes"] = partial(nested, 60)
    return found


def _with(name: str, place: tuple[str, ...], value: Any, at: Path) -> None:
    """A checkpoint of a model, in whose config something else stands."""
    known = name if name not in ("lenet", "rnn", "m2") else "mlp"  # whose options say no less without weights
    content = content_of(model_of(known))
    entry = content["zoo"]["model"]
    if known != name:
        entry |= {"name": name, "options": {}}
    *above, last = place
    for key in above:
        entry = entry[key]
    entry[last] = {**entry[last], **value} if isinstance(value, dict) and last == "options" else value
    _write(content, at)


def _released() -> dict[str, Callable[[Path], object]]:
    def config(text: Callable[[], str]) -> Callable[[Path], object]:
        return lambda at: (at / "config.json").write_text(text(), "utf-8")

    def option(value: Any) -> Callable[[Path], object]:
        def write(at: Path) -> None:
            entry = json.loads((at / "config.json").read_text("utf-8"))
            entry["model"]["options"]["hidden_sizes"] = value
            (at / "config.json").write_text(json.dumps(entry), "ascii")

        return write

    def tensors(start: bytes, size: int = 0) -> Callable[[Path], object]:
        def write(at: Path) -> None:
            with (at / "model.safetensors").open("wb") as file:
                file.write(start)
                file.truncate(max(size, len(start)))

        return write

    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40, 0, 2**40], "data_offsets": [0, 0]}}).encode()
    return {
        "a config of 200 MB": lambda at: os.truncate(at / "config.json", 2 * 10**8),
        "lists, 100,000 deep": config(lambda: "[" * 10**5),
        "eight million brackets": config(lambda: "[" + "[]," * 2_600_000 + "[]]"),
        "a number of 8 million digits": config(lambda: "9" * 8 * 10**6),
        "10⁹ features": option([MANY]),
        "100,000 layers": option([1] * 10**5),
        "a header of 2⁶³ bytes": tensors(struct.pack("<Q", 2**63)),
        "a header of a terabyte of nothing": tensors(struct.pack("<Q", 2**40), 2**40 + 8),
        "a header of 90 MB": tensors(struct.pack("<Q", 9 * 10**7), 9 * 10**7 + 8),
        "a tensor of 2⁸⁰ values": tensors(struct.pack("<Q", len(header)) + header),
    }


# Pictures, IDX and text


def _png(width: int, height: int, color: int, depth: int = 8) -> bytes:
    """Zeros that are there, compressed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    channels = {0: 1, 2: 3, 6: 4}[color]
    packer, packed = zlib.compressobj(1), b""
    line = bytes(1 + -(-width * channels * depth // 8))
    for _ in range(height):
        packed += packer.compress(line)
    packed += packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _pictures() -> dict[str, Callable[[], bytes]]:
    def text() -> bytes:
        whole = _png(8, 8, 0)
        kind, content = b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))
        chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        return whole[:33] + chunk * 3 + whole[33:]

    def films(suffix: str) -> bytes:
        file, frames = io.BytesIO(), [Image.new("L", (2000, 2000), n) for n in range(60)]
        frames[0].save(file, suffix, save_all=True, append_images=frames[1:])
        return file.getvalue()

    return {
        "30,000 × 30,000 bits": lambda: _png(30_000, 30_000, 0, 1),
        "12,000 × 12,000 in colour": lambda: _png(12_000, 12_000, 2),
        "7,000 × 7,000 in colour": lambda: _png(7_000, 7_000, 2),
        "7,000 × 7,000 of 16 bits": lambda: _png(7_000, 7_000, 0, 16),
        "7,000 × 7,000, transparent": lambda: _png(7_000, 7_000, 6),
        "3,900 × 3,900, transparent": lambda: _png(3_900, 3_900, 6),
        "texts of 100 MB": text,
        "a film": lambda: films("GIF"),
        "many pages": lambda: films("TIFF"),
        "PGM of 10¹² pixels": lambda: b"P5 1000000 1000000 255\n" + bytes(100),
        "PGM of a line of 10¹⁰ pixels": lambda: b"P5 10000000000 1 255\n" + bytes(100),
    }


def _idx() -> dict[str, Callable[[], bytes]]:
    member = gzip.compress(bytes(10**8), 1)

    def zeros(count: int, kind: int = 8) -> bytes:
        return gzip.compress(struct.pack(">4BII", 0, 0, kind, 2, count * 1000, 10**5)) + member * count

    return {
        "10 GB of zeros": lambda: zeros(100),
        "a billion labels of four bytes": lambda: zeros(40, 12),
        "2¹²⁸ values": lambda: gzip.compress(b"\0\0\x08\x04" + b"\xff" * 16 + b"few"),
        "255 dimensions": lambda: gzip.compress(b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x"),
        "more than the header says": lambda: gzip.compress(b"\0\0\x08\x01\0\0\0\2ab") + member * 100,
    }


def _texts() -> list[tuple[str, str, Callable[[], bytes]]]:
    def merged(start: str, line: str) -> bytes:
        return "\n".join([start, *(line.format(n + 1, ", ".join([f"*a{n}"] * 9)) for n in range(9))]).encode()

    def table(change: Callable[[Any], None]) -> Callable[[], bytes]:
        """``models.json`` with a change in what it says of MNIST."""
        from zoo.files import RESULTS

        def content() -> bytes:
            found = json.loads((RESULTS / "textbook" / "models.json").read_text("utf-8"))
            change(found["tables"]["mnist"])
            return json.dumps(found).encode()

        return content

    return [
        ("300,000 columns", "a.csv", lambda: b",".join(b"a%d" % n for n in range(300_000)) + b"\n"),
        ("a cell of 50 MB", "a.csv", lambda: b"a,b\n" + b"1" * 5 * 10**7 + b",2\n"),
        ("a number of a million digits", "a.csv", lambda: b"a,b\n" + b"1" * 10**5 + b",2\n"),
        ("lists, 100,000 deep", "models.json", lambda: b"[" * 10**5),
        ("10 MB", "models.json", lambda: b"[" + b"0," * 5 * 10**6 + b"0]"),
        ("a model of 200,000 needs", "models.json",
         table(lambda found: found["needs"].extend([found["needs"][0]] * 20_000))),
        ("aliases", "config.yaml", lambda: merged("a0: &a0 [x, x]", "a{0}: &a{0} [{1}]")),
        ("merges", "config.yaml", lambda: merged("a0: &a0 {x: 1}", "a{0}: &a{0} {{<<: [{1}]}}")),
        ("a list in itself", "config.yaml", lambda: b"model: &a [*a]\ndata: *a\n"),
        ("lists, 30,000 deep", "config.yaml", lambda: b"[" * 30_000),
        ("100 MB", "config.yaml", lambda: b"a: 1\n" * 20_000_000),
        ("a number of 60,000 digits", "config.yaml", lambda: b"seed: 0x" + b"f" * 60_000),
        ("a cell of 10 MB", "texts.csv", lambda: b"text,class\n" + b"a " * 5 * 10**6 + b",x\nb,y\n"),
        ("a hundred thousand rows", "texts.csv", lambda: b"text,class\n" + b"a,x\nb,y\n" * 50_000),
        ("a line of 10 MB", "a/1.txt", lambda: b"1," * 5 * 10**6),
        ("a mark upon the other, 10 MB", "a/1.txt", lambda: "\u0301".encode() * 5 * 10**6),
        ("a line of 10 MB", "a.txt", lambda: b"a'" * 5 * 10**6),
        ("200,000 lines", "a.txt", lambda: b"a\n" * 200_000),
        ("a line of 60 MB", "sms-spam/SMSSpamCollection", lambda: b"ham\t" + b"a " * 3 * 10**7),
        ("200,000 lines", "sms-spam/SMSSpamCollection", lambda: b"ham\ta\n" * 200_000),
        ("a member of zeros", _ARCHIVE, lambda: zipped("german.data", bytes(10**8))),
        ("a member of zeros that says it is small", _ARCHIVE,
         lambda: zipped("german.data", bytes(10**8)).replace(struct.pack("<I", 10**8), struct.pack("<I", 100))),
    ]  # fmt: skip


def _npy(count: int) -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, 1, 8, 8), }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + np.zeros(64, np.uint8).tobytes()
