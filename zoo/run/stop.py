"""A process that is asked to end does so, and what it has done by then is not lost."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from zoo.errors import Stopped
from zoo.run import processes

# Ctrl-C, what ends a process, a closed terminal, and what SLURM warns with (sbatch --signal=USR1@60)
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]


class Stop:
    """What signals ask of this process.

    Attributes:
        asked: the number of the signal, once there was one, in this process or another one of its training.
        later: whether it is answered when a step has come to its end, by whoever carries that out; else ``Stopped`` is
            raised at once, as it is by a second signal in any case.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._heard = False  # whether this process got one itself
        self.later = False

    def __call__(self, number: int, _: Any = None) -> None:
        """The handler of a signal."""
        first, self._heard, self.asked = not self._heard, True, number
        if not (first and self.later):
            raise Stopped(number)
        if processes.number():
            return
        with contextlib.suppress(OSError):  # print() is not for handlers
            os.write(2, b"ends after this step, and saves it; a second signal ends at once\n")

    def listen(self) -> None:
        """Handle signals, but those that the process was told to ignore (``nohup``)."""
        if threading.current_thread() is not threading.main_thread():  # which alone may say what a signal does
            return
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self)


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Signals end the process as an exit does, with status 128 + number: what is to be cleaned up is.

    Lightning would wait for the end of a batch, and so for all that precedes the first.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop.listen()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
