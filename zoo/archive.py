"""A file that ``torch.save`` wrote, checked before PyTorch reads it: a zip of a pickle, ``data.pkl``, and the numbers.

PyTorch executes nothing of it (``weights_only=True``), but it believes what it says of sizes. So its directory is
compared with the file (entries are stored as they are, none twice, none in another's place, none damaged), and its
pickle is gone through without carrying anything out: which classes it names, how many pieces it makes, and how large
they are with what they share. The numbers are mapped into memory, not copied: none lies outside the file.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from zoo import plain
from zoo.errors import CheckpointError

DIRECTORY = 2**24  # bytes: 100,000 tensors
PICKLE = 2**25  # bytes: a vocabulary of a million terms
STEPS = 500_000  # of the pickle, most of which make one piece; 130 a weight that Adam trains
GROWING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")  # what is there already
END, END64, LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
KNOWN = {
    "collections OrderedDict",
    "collections Counter",  # of MultiStepLR
    "torch Size",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte",
                                          "Bool", "ComplexDouble", "ComplexFloat")),
}  # fmt: skip
CALLED = ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID")  # never written


def read(path: Path) -> Any:
    """What ``torch.save`` was given, on the CPU: plain data and tensors, whose numbers are mapped from the file.

    Raises:
        CheckpointError: no such file, one that is damaged, holds more than plain data (nothing of it is run), or says
            that it holds more than it does.
    """
    size = plain.check_file(path, CheckpointError)
    if not size:
        raise CheckpointError(f"{path} is empty")
    try:
        with path.open("rb") as file:
            _check_end(file, size)
            with zipfile.ZipFile(file) as members:
                _check_pickle(_check_members(members, size))
        with warnings.catch_warnings(action="ignore"):  # on what the file might be; the error says what it is
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        plain.check(found, Tensor)
        _check_tensors(found, size)
    except _More as error:
        raise CheckpointError(f"{path} is refused: it contains more than plain data, nothing of it was run") from error
    except _Bad as error:
        raise CheckpointError(f"{path} is no checkpoint, or a truncated or damaged one: {error}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} is refused: it contains more than plain data, nothing of it was run") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes can make a reader fail in any way
        raise CheckpointError(f"{path} is no checkpoint, or a truncated or damaged one") from error
    return found


class _Bad(ValueError):
    """What is wrong with a file, in words."""


class _More(ValueError):
    """Something in it is no plain data."""


def _check_end(file: IO[bytes], size: int) -> None:
    """The record at the very end, where any reader of zips finds it: the directory is as large as can be read."""
    file.seek(max(size - 22 - 20 - 56, 0))
    tail = file.read()
    end, locator, end64 = tail[-22:], tail[-42:-22], tail[:-42]
    if not end.startswith(END) or len(end) < 22 or END in end[1:]:
        raise _Bad("it is no zip that PyTorch wrote")
    length = struct.unpack_from("<I", end, 12)[0]
    if locator.startswith(LOCATOR):
        if not end64.startswith(END64):
            raise _Bad("its directory is not at its end")
        length = max(struct.unpack_from("<Q", end64, 40)[0], length if length != 0xFFFFFFFF else 0)
    if length > min(DIRECTORY, size):
        raise _Bad(f"its directory would be of {length:,} bytes")


def _check_members(members: zipfile.ZipFile, size: int) -> bytes:
    """Entries are what they seem to be, and hold no more than the file. Returns the pickle."""
    found = members.infolist()
    names = [member.filename for member in found]
    if not names or len({name.casefold() for name in names}) < len(names):
        raise _Bad("its directory names an entry twice, or none")
    home = names[0].partition("/")[0]
    for member in found:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise _Bad(f"its entry {plain.short(member.filename)} is compressed, which PyTorch writes none")
        if member.orig_filename != member.filename or not member.filename.startswith(f"{home}/"):
            raise _Bad(f"its entry {plain.short(member.filename)} has no name that PyTorch gives")
    promised = sum(member.file_size + 30 for member in found)
    if promised > size:
        raise _Bad(f"its entries would be of {promised:,} bytes, and the file has {size:,}")
    damaged = members.testzip()
    if damaged is not None:
        raise _Bad(f"the checksum of its entry {plain.short(damaged)} is another")
    if f"{home}/data.pkl" not in names:
        raise _Bad("it has no data.pkl")
    if members.getinfo(f"{home}/data.pkl").file_size > PICKLE:
        raise _Bad(f"its data.pkl has more than {PICKLE:,} bytes")
    return members.read(f"{home}/data.pkl")


def _check_pickle(code: bytes) -> None:
    """Go through a pickle with the number of pieces in place of each object: how much it makes, and of what.

    A tuple of two that are the same tuple of two, and so on, takes a few bytes; to look it up in a dict takes all.
    """
    stack: list[list[int] | None] = []  # None: a mark; else how many pieces it has, in a cell: a list grows
    known: dict[int, list[int]] = {}
    made = 0  # by all calls and additions: each goes through what it is given
    for steps, (step, argument, _) in enumerate(pickletools.genops(code)):
        if step.name in CALLED or (step.name == "GLOBAL" and argument not in KNOWN):
            raise _More
        if step.name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            known[len(known) if argument is None else argument] = stack[-1] or [0]
            continue
        if step.name == "MARK":
            stack.append(None)
            continue
        if step.name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(known[argument or 0])
            continue
        pieces = 1 + (len(argument) // 64 if isinstance(argument, (str, bytes)) else 0)
        before = [kind.name for kind in step.stack_before]
        grows = step.name in GROWING
        if "mark" in before:
            while (top := stack.pop()) is not None:
                pieces += top[0]
            before = before[: before.index("mark")]
        for _ in before[1:] if grows else before:
            top = stack.pop()
            pieces += top[0] if top else 0
        if grows:
            cell = stack[-1]
            if cell is None:
                raise _Bad("its data.pkl adds to nothing")
            cell[0] += pieces
        else:
            cell = [pieces]
            stack += [cell] * len(step.stack_after)
        made += pieces if grows or step.name in ("REDUCE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3") else 0
        if steps > STEPS or max(made // 8, cell[0]) > plain.ENTRIES:
            raise _Bad("it is made of more pieces than are read")


def _check_tensors(value: Any, size: int) -> None:
    """Each tensor's values are in the file: none stands for more than it stores, and all together for not much more."""
    waiting, together = [value], 0
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, Tensor):
            dense = entry.layout == torch.strided and entry.device.type == "cpu"
            if not dense or entry.nbytes > entry.untyped_storage().nbytes():
                raise _Bad("a tensor stands for more values than it holds")
            together += entry.nbytes
        elif isinstance(entry, dict):
            waiting += [*entry.values(), *entry]
        elif isinstance(entry, (list, tuple)):
            waiting += entry
    if together > 8 * size:  # weights that are tied are stored once
        raise _Bad("its tensors share their values")
