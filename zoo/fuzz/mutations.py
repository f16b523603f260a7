"""Changes of files, each a function of a random stream: bits, spans and numbers of any file, values of plain data,
entries of archives with their checksums made right."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import warnings
import zipfile
from typing import Any

import torch
import yaml

EXTREMES = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
WORDS = (b"-1", b"0", b"1e999", b"nan", b"99999999999", b"null", b"[]", b"{}", b'"a"', b"true", b"${oc.env:HOME}",
         b"1.5", b"", b"9" * 5000)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1.5, float("nan"), float("inf"), -1e308, "", "a", "../x", "a" * 5000,
    "${oc.env:HOME}", [], {}, [1, "a"], [[]], {"a": 1}, {"": None},
)  # fmt: skip


def mutate(content: bytes, name: str, rng: random.Random) -> bytes:
    """``content`` with one to three changes, as they fit what the file's ``name`` says it is."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        ways = [_bytes] * 3
        if name.endswith(".ckpt"):
            ways += [_entry, _entry, _saved, _saved, _saved]
        elif name.endswith((".json", ".yaml")):
            ways += [_plain, _plain, _plain, _numbers]
        elif name.endswith(".csv"):
            ways += [_numbers, _numbers]
        elif name.endswith(".safetensors"):
            ways += [_numbers]
        try:
            content = rng.choice(ways)(content, name, rng)
        except Exception:  # what was changed before is not understood any more
            content = _bytes(content, name, rng)
    return content


def _bytes(content: bytes, name: str, rng: random.Random) -> bytes:
    size = len(content)
    start = rng.randrange(min(size, rng.choice((16, 64, 512, size + 1))) + 1)
    stop = min(size, start + rng.choice((1, 2, 4, 8, 100, size)))
    way = rng.randrange(8)
    if way == 0 and size:
        place = min(start, size - 1)
        return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
    if way == 1:
        return content[:start]
    if way == 2:
        return content[:start] + content[stop:]
    if way == 3:
        return content[:stop] + content[start:stop] * rng.choice((1, 2, 50)) + content[stop:]
    if way == 4:
        return content[:start] + rng.randbytes(stop - start) + content[stop:]
    if way == 5:
        return content[:start] + rng.randbytes(rng.choice((1, 10, 1000))) + content[start:]
    if way == 6:
        other = rng.randrange(size + 1)
        return content[:start] + content[other : other + stop - start] + content[stop:]
    kind = rng.choice("<>") + rng.choice("HIQ")
    number = rng.choice(EXTREMES) % 2 ** (8 * struct.calcsize(kind))
    return content[:start] + struct.pack(kind, number) + content[start + struct.calcsize(kind) :]


def _numbers(content: bytes, name: str, rng: random.Random) -> bytes:
    """A number or a name in a text is another."""
    found = [match.span() for match in re.finditer(rb"-?\d[\d.e-]*|\w+", content[:20_000])]
    start, stop = rng.choice(found)
    return content[:start] + rng.choice(WORDS) + content[stop:]


def _plain(content: bytes, name: str, rng: random.Random) -> bytes:
    load, dump = (json.loads, json.dumps) if name.endswith(".json") else (yaml.safe_load, yaml.dump)
    return dump(changed(load(content), rng)).encode()


def _saved(content: bytes, name: str, rng: random.Random) -> bytes:
    from zoo.fuzz.readers import saved

    return saved(changed(torch.load(io.BytesIO(content), weights_only=True), rng))


def changed(value: Any, rng: random.Random) -> Any:
    """Plain data of which one entry, somewhere, is another, or is gone, or has another name."""
    parts = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not parts or rng.random() < 0.04:
        if isinstance(value, torch.Tensor) and rng.random() < 0.8:
            return _tensor(value, rng)
        return rng.choice(VALUES)
    key = rng.choice(parts)
    if rng.random() < 0.12:
        if isinstance(value, dict):
            part = value.pop(key)
            if rng.random() < 0.4:
                value[rng.choice((f"{key}x", 5, "", "name"))] = part
        else:
            value = value[:key] + value[key + 1 :] if rng.random() < 0.5 else [*value, value[key]]
        return value
    value[key] = changed(value[key], rng)
    return value


def _tensor(value: torch.Tensor, rng: random.Random) -> torch.Tensor:
    return rng.choice((
        lambda: value.to(rng.choice((torch.float64, torch.int64, torch.bool, torch.float16))),
        lambda: torch.cat([value.flatten(), value.flatten()]),
        lambda: value.flatten()[:1],
        lambda: value.new_zeros(0),
        lambda: value[..., None],
        lambda: torch.full_like(value, float("nan")) if value.is_floating_point() else value,
    ))()  # fmt: skip


def _entry(content: bytes, name: str, rng: random.Random) -> bytes:
    """An entry of an archive is changed, left out, doubled, or another's; checksums are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as members:
        entries = [(member.filename, members.read(member)) for member in members.infolist()]
    place, way = rng.randrange(len(entries)), rng.randrange(6)
    if rng.random() < 0.5:
        place = next(number for number, (entry, _) in enumerate(entries) if entry.endswith("data.pkl"))
    entry, data = entries[place]
    if way == 0:
        del entries[place]
    elif way == 1:
        entries[place] = (entry, rng.choice(entries)[1])
    elif way == 2:
        entries.append((rng.choice((entry, entry.upper(), "../" + entry, "/etc/x")), data))
    else:
        entries[place] = (entry, _bytes(data, entry, rng))
    file = io.BytesIO()
    packing = rng.choice((zipfile.ZIP_STORED,) * 4 + (zipfile.ZIP_DEFLATED,))
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w", packing) as members:
        for entry, data in entries:  # names may be there twice
            members.writestr(entry, data)
    return file.getvalue()
