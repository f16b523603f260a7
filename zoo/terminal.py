"""What a terminal, a pipe or a file is told: in characters that it can hold, and nothing that drives it.

Work is never lost to printing. What a stream cannot hold is spelled otherwise (``≥`` as ``>=``, where nothing is better
``\\xe9``); a pipe that nobody reads any more, a full disk, or a stream that was closed takes no more words, and the
program goes on. Names of classes, files and runs come from elsewhere: they are shown as they are, brackets, colons and
all, and with control characters escaped.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

SPELLED = {
    "≥": ">=", "≤": "<=", "±": "+/-", "×": "x", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "·": "|",
    "²": "^2", "σ": "sigma", "‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "\u202f": " ",
    "✓": "yes", "✗": "no",
}  # fmt: skip
# C0, DEL and C1, among them what starts an escape sequence; separators of lines; what turns the direction of writing;
# and halves of characters, which stand for the bytes of a name that is no UTF-8
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, see os.fsdecode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def printable(text: object, keep: str = "") -> str:
    """``text`` with what is unprintable escaped, but for the characters of ``keep``: a name fills one line."""
    return UNPRINTABLE.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), str(text))


def _spell(error: UnicodeError) -> tuple[str, int]:
    """The handler ``"spelled"`` of :meth:`str.encode`: what an encoding has no character for, in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(SPELLED.get(character) or _escaped(character) for character in characters), error.end


codecs.register_error("spelled", _spell)


class _Raw(io.FileIO):
    """A stream's file, into which nothing more goes once it has failed: ``lost`` is the error."""

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        if self.lost is None:
            try:
                return super().write(data)
            except BlockingIOError:
                raise
            except OSError as error:
                self.lost = error
        return len(data)


_raw: dict[str, _Raw] = {}  # of the streams of this process, by name


def prepare() -> None:
    """Let ``sys.stdout`` and ``sys.stderr`` take every text, and never fail. Again and again does no harm."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would be taken for it
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        stream = getattr(sys, name)
        if name == "stdin" or name in _raw:
            continue
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8", errors="spelled"))  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            stream.flush()
            _raw[name] = _Raw(number, "w", closefd=False)
            buffer, lines = io.BufferedWriter(_raw[name]), stream.line_buffering or stream.write_through
            setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, "spelled", line_buffering=lines))
        elif isinstance(stream, io.TextIOWrapper):  # put there by somebody else
            with contextlib.suppress(ValueError, io.UnsupportedOperation):
                stream.reconfigure(errors="spelled")


def lost() -> OSError | None:
    """Why not all that was printed on ``sys.stdout`` got where it should; None where it did."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    return _raw["stdout"].lost if "stdout" in _raw else None


def console(**options: Any) -> Console:
    """Rich's console, for text in which nothing is markup, an emoji's name, or a control character.

    ``options`` are those of ``rich.console.Console``.
    """
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        """All strings pass here before they are laid out, cells and titles of tables, too."""

        def render_str(self, text: str, **options: Any) -> Text:
            spelled = printable(text, keep="\n\t").encode(self.encoding, "spelled").decode(self.encoding)
            return super().render_str(spelled, **options)

    return Plain(markup=False, emoji=False, highlight=False, **options)


def busy(console: Console, text: str) -> contextlib.AbstractContextManager[Any]:
    """What is being done meanwhile: a line that moves in a terminal, and is gone when it is done; nothing elsewhere."""
    if not console.is_terminal:
        return contextlib.nullcontext()
    return console.status(text, spinner="dots" if console.encoding.startswith("utf") else "line", refresh_per_second=4)


def typed(name: str) -> str:
    """How the command ``name`` is typed where this program is running: ``zoo sample``; or, where a script was started,
    ``python scripts/sample.py``, and ``python train.py``."""
    if not _is_script():
        return f"zoo {name}"
    return f"python {'' if name == 'train' else 'scripts/'}{name}.py"


def as_typed(text: str) -> str:
    """``text`` with the scripts, and the module, that it names as commands, where no script was started."""
    if _is_script():
        return text
    return re.sub(r"(?:python )?(?:scripts/(\w+)|\b(train))\.py\b", _command, text).replace("python -m zoo", "zoo")


def _is_script() -> bool:
    started = Path(sys.argv[0])
    return started.name == "train.py" or (started.suffix == ".py" and started.parent.name == "scripts")


def _command(match: re.Match[str]) -> str:
    return f"zoo {match[1] or match[2]}"


def word(key: str, value: object) -> str:
    """``key=value`` as it is typed for a script: pasted into a shell, it means just this."""
    return _shell(f"{key}={value}")


def override(key: str, value: object) -> str:
    """As :func:`word`, for ``train.py``, where Hydra reads more into a value than its characters."""
    return _shell(f"{key}={quoted(str(value))}")


def quoted(text: str) -> str:
    """``text`` as a value of Hydra's grammar that is just this string."""
    if not re.fullmatch(r"[\w/][\w/.+@-]*", text, re.ASCII) or re.fullmatch(
        r"[\d_.e+-]+|true|false|null|nan|inf", text, re.I
    ):
        text = re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + "\\${", text)  # no interpolation
        quote = "'" if '"' in text and "'" not in text else '"'
        text = re.sub(rf"(\\*)({quote}|$)", lambda match: 2 * match[1] + ("\\" + quote if match[2] else ""), text)
        text = f"{quote}{text}{quote}"
    return text


def _shell(text: str) -> str:
    """``text`` as one word of a shell; what is unprintable as bash and zsh spell it."""
    if printable(text) == text:
        return shlex.quote(text)
    escaped = "".join(printable(character.replace("\\", "\\\\").replace("'", "\\'")) for character in text)
    return f"$'{escaped}'"
