"""The machine a run happens on: settings that make it fast, and a description of it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from zoo.files import REPOSITORY

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "torchmetrics", "numpy", "scikit-learn")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def prepare(device: torch.device) -> str:
    """Settings of this process that shorten a training step without changing its results, and what they are, in a line.

    On the CPU, activations are freed and taken again each step. glibc returns blocks of that size to the system, which
    zeroes them before it hands them out again; it is told to keep them (1.1–1.3× on small convolutional networks).
    Builds of torch with CUDA look for a driver at every optimiser step where they have found no GPU; told that there is
    none, they need not (0.2 ms a step). A GPU that is there is never hidden: the next run of this process may want it.

    On a GPU nothing is set: 32-true stays what it says. TensorFloat-32 would leave ten bits of a product, which a
    likelihood notices; torch's own default has it in convolutions alone. What gains from fewer bits asks for
    ``trainer.precision``.
    """
    if device.type == "cuda":
        shorter = torch.backends.cudnn.allow_tf32 and torch.cuda.get_device_capability(device) >= (8, 0)
        return f"{torch.cuda.get_device_name(device)}: float32" + (", TF32 in convolutions" if shorter else "")
    threads = torch.get_num_threads()
    line = f"{device.type}: {threads} thread{'s' if threads > 1 else ''}"
    if device.type != "cpu":
        return line
    if torch.backends.cuda.is_built() and not torch.cuda.is_available():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        line += ", no GPU"
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
        line += ", large allocations kept (glibc)"
    return line


def describe(device: torch.device) -> dict[str, Any]:
    """Machine, package versions and source revision, for a summary."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "machine": {
            "device": device.type,
            "gpu": gpu,
            "cpu": _cpu(),
            "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "revision": revision(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def revision() -> str | None:
    """The commit of the source, with ``+changes`` where the work tree differs; None outside a repository."""
    try:
        commit, status = (
            subprocess.run(
                ["git", *arguments], cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=True
            ).stdout.strip()
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if status else "")
