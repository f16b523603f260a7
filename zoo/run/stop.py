"""A process that is asked to end does so."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

TERMINATED = 128 + signal.SIGTERM  # exit status


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM ends the process after the call to torch that is under way, with status 143, and as an exit does: what
    is to be cleaned up is. Lightning would wait for the end of a batch, and so for all that precedes the first."""
    if threading.current_thread() is not threading.main_thread():  # which alone may say what a signal does
        yield
        return

    def stop(*_: Any) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
