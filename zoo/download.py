"""Files from elsewhere: the first right answer of several addresses, whole or not at all."""

from __future__ import annotations

import http.client
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from zoo.errors import ZooError
from zoo.terminal import console, printable

LIMIT = 2**30  # bytes; no published file is larger, and no answer of a server is read further
TRIES, PAUSE = 3, 1.0  # of each address whose answer breaks off; seconds before the second, twice as many each time
PART = 2**16  # bytes
TOO_MANY = 429  # requests, says a server


def first_right(urls: Sequence[str], right: Callable[[bytes], bool], size: str | None = None) -> bytes:
    """What the first address gives that answers with the right content.

    Args:
        urls: tried in turn, each again where its answer breaks off, or it is out of order.
        right: whether this is the content; an ``OSError``, ``EOFError`` or ``ValueError`` says no, too.
        size: in words, of what takes a while: who waits is told, and in a terminal sees how far it is.

    Raises:
        ZooError: no address gives the right content; it says why.
    """
    problem: object = "no mirror is known"
    for url in urls:
        if size:
            print(f"downloading {url}, {size}", file=sys.stderr)
        try:
            content = _answer(url)
            if right(content):
                return content
            problem = f"{url} has other content than was published"
        except (OSError, EOFError, ValueError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
            problem = getattr(error, "reason", None) or error
    raise ZooError(str(problem))


def _answer(url: str) -> bytes:
    """What a server hands out, up to :data:`LIMIT`.

    Raises ``OSError`` or ``HTTPException`` where it refuses, or :data:`TRIES` answers broke off.
    """
    for attempt in range(TRIES):
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return _whole(response, url.rpartition("/")[2])
        except urllib.error.URLError as error:
            busy = getattr(error, "code", 0) >= 500 or getattr(error, "code", 0) == TOO_MANY
            if not (busy or isinstance(error.reason, TimeoutError | ConnectionResetError)):
                raise  # nobody is there, or will say anything else
            problem: Exception = error
        except (OSError, http.client.HTTPException) as error:
            problem = error
        if attempt + 1 < TRIES:
            time.sleep(PAUSE * 2**attempt)
    raise problem


def _whole(response: Any, name: str) -> bytes:
    """The content of an answer, with a bar in a terminal. Raises ``IncompleteRead`` where it is shorter than told."""
    from rich.progress import wrap_file

    told = response.headers.get("Content-Length") or ""
    total = int(told) if told.isascii() and told.isdigit() else None
    shown = console(stderr=True)
    parts: list[bytes] = []
    read = 0
    with wrap_file(response, total or 0, description=printable(name), console=shown, transient=True,
                   disable=not (shown.is_terminal and total)) as file:  # fmt: skip
        while read < LIMIT and (part := file.read(min(PART, LIMIT - read))):
            parts.append(part)
            read += len(part)
    if total is not None and read < min(total, LIMIT):
        raise http.client.IncompleteRead(b"".join(parts), total - read)
    return b"".join(parts)
