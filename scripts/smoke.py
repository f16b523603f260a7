"""Whether every model works with the packages that are installed: its help, a training of one step, every question.

python scripts/smoke.py [key=value …]

{options}

Each model is trained by train.py on one batch of the smallest data that it takes, its best.ckpt is loaded, asked
everything that it can be asked, released to a folder, and loaded from there. One line a model, with its seconds; exit
status 1 where one fails, with the reasons.
"""

from __future__ import annotations

import sys
from typing import Any

from zoo.command import command, parse_values
from zoo.schema import Option

OPTIONS = {
    "models": Option("*", "a pattern of names"),
}
PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "omegaconf", "numpy", "pillow", "zuko")
SMALLEST = {
    "grey": "digits",
    "real": "breast_cancer",
    "counts": "grammar",
    "tokens": "pydoc",
}  # by the kind of values; all embedded


@command
def main() -> None:
    pattern = parse_values(sys.argv[1:], OPTIONS, __doc__ or "", "the models are given as models")["models"]
    import importlib.metadata
    import platform
    import tempfile
    import time
    import traceback
    from pathlib import Path

    import zoo
    from zoo.errors import ConfigError

    names = zoo.list_models(pattern)
    if not names:
        raise ConfigError(f"no model is called {pattern!r}: {', '.join(zoo.list_models())}")
    print("Python", platform.python_version(), *(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES))
    failed = []
    for name in names:
        started = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory() as folder:
                said = smoke(name, Path(folder))
        except (Exception, SystemExit):
            failed.append(name)
            traceback.print_exc()
            said = "FAILED"
        print(f"{name:20} {time.perf_counter() - started:5.1f} s  {said}", flush=True)
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    if failed:
        sys.exit(1)


def smoke(name: str, folder: Any) -> str:
    """One model through everything, below ``folder``; the questions that it answered. Raises for what goes wrong."""
    import torch

    import zoo
    from zoo import capability, registry
    from zoo.data.splits import load_splits

    data = next(SMALLEST[kind] for kind in registry.model_class(name).takes if kind in SMALLEST)
    words = [f"model={name}", f"data={data}"]
    assert " data.batch_size " in train(*words, "--help")
    train(*words, "trainer.max_epochs=1", "trainer.limit_train_batches=1", f"runs={folder / 'runs'}")
    (run,) = (folder / "runs").iterdir()
    model = zoo.load(run)
    x = load_splits(data).test.take(slice(4)).x()
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    answered = []
    for question, asked in capability.known().items():
        if capability.can(model, question):
            answer = asked.trial(model, x, observed)
            if not answer.isfinite().all():
                raise ValueError(f"{name} answers {question} with what is no number")
            answered.append(question.replace("_", " "))
    released = zoo.load(zoo.save(model, folder / "released"))
    for key, value in model.state_dict().items():
        if not torch.equal(value.cpu(), released.state_dict()[key].cpu()):
            raise ValueError(f"{name} comes back from its release with another {key}")
    return ", ".join(answered)


def train(*words: str) -> str:
    """``python train.py`` in this process; what it printed to stdout."""
    import contextlib
    import io
    from unittest import mock

    from zoo.commands import train as program

    printed = io.StringIO()
    with mock.patch.object(sys, "argv", ["train.py", *words]), contextlib.redirect_stdout(printed):
        program.main()
    return printed.getvalue()


if __name__ == "__main__":
    main()
