"""How much memory this process has needed at most."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def memory() -> float:
    """Peak of the resident memory since the program was started, in MiB.

    Linux hands ``ru_maxrss`` down: a program that a large process has started begins with that one's size. The mark in
    ``/proc`` is its own.
    """
    if STATUS.is_file():
        for line in STATUS.read_text("utf-8", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024  # kB
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1 << 20 if sys.platform == "darwin" else 1 << 10)
