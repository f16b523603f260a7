"""Reading and writing models. Only plain data goes in or out, and only known names become classes.

Two layouts hold a model:

- a training checkpoint, the ``.ckpt`` that Lightning writes: tensors, dicts, lists, strings and numbers, among them
  ``checkpoint["zoo"] = {"format": 1, "model": {"name", "spec", "options"}}``;
- a released model, a folder with ``model.safetensors``, ``config.json`` (the same entry) and a ``README.md``.

Both are read without executing anything they contain: ``torch.load(weights_only=True)``, JSON and safetensors; and
none is believed, see :mod:`zoo.archive` and :mod:`zoo.plain`: what is refused has taken little time and memory. What is
read becomes a model in :mod:`zoo.registry`, by its registered name; no import path, class or function is taken from a
file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import archive, download, plain
from zoo.base.model import Model
from zoo.errors import CheckpointError, ZooError, did_you_mean
from zoo.files import PATH_OPTIONS, PRETRAINED, cache, json_text, new_folder, released, user_path, write_bytes

FORMAT = 1
HUB = "hf-hub:"
SHELF = "ZOO_RELEASES"  # an address, or a folder, that has the weights which an installation leaves out
WEIGHTS, ENTRY = "model.safetensors", "config.json"  # of a release
HEADER = 2**22  # bytes of a safetensors file: 40,000 tensors
CONFIG = 5 * 2**20  # bytes of a release's config.json: a vocabulary of four hundred thousand terms


def describe(model: Model) -> dict[str, Any]:
    """The entry that makes a file a checkpoint of this zoo. ``model`` must come from ``zoo.create`` or ``zoo.load``."""
    if not hasattr(model, "config"):
        raise ZooError("only a model made by zoo.create or zoo.load can be saved: it knows how it was built")
    return {"format": FORMAT, "model": model.config}


def locate(path: str | Path) -> Path:
    """The file to read for ``path``: itself, or in a run directory ``best.ckpt``, else ``last.ckpt``.

    A released model's folder is returned as it is, also for its name, where nothing here is called so, and for
    ``hf-hub:<user>/<repository>``, optionally with ``@<revision>``, fetched from there once. Raises ``CheckpointError``
    where there is nothing to read.
    """
    if str(path).startswith(HUB):
        return _fetched(str(path).removeprefix(HUB))
    name, path = str(path), user_path(path)
    if not path.exists():
        if name in released():
            return PRETRAINED / name
        is_name = name == path.name and not path.suffix
        shelf = [own for own in released() if not own.startswith("features-")]  # which measure samples
        hint = f", nor is there a released model of that name: {did_you_mean(name, shelf, 'models')}"
        raise CheckpointError(f"{path} does not exist{hint if is_name else ''}")
    if path.is_dir() and not (path / ENTRY).is_file():
        for name in ("best.ckpt", "last.ckpt"):
            if (path / name).is_file():
                return path / name
        raise CheckpointError(f"{path} holds neither best.ckpt nor last.ckpt, nor a released model's config.json")
    return path


def _fetched(name: str) -> Path:
    """A release in a repository of the Hugging Face Hub, in its cache: the two files that are read, and no other."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(
            f"{HUB}{name} needs a package: pip install 'generative-discriminative-zoo[hub]'"
        ) from error
    repository, _, revision = name.partition("@")
    try:
        found = snapshot_download(repository, revision=revision or None, allow_patterns=[WEIGHTS, ENTRY])
    except (OSError, ValueError) as error:  # of the network, of the hub, of the name
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{HUB}{name[:100]} cannot be fetched: {reason}") from error
    if not (Path(found) / ENTRY).is_file():
        raise CheckpointError(f"{HUB}{name} is no release of this zoo: it has no {ENTRY}")
    return Path(found)


def folder(path: str | Path) -> Path:
    """The folder for what is made of the weights of ``path``: the one they are in, or, of a released model, the working
    directory. Raises as :func:`locate` does."""
    kept = locate(path)
    return Path() if kept.is_dir() else kept.parent


def read(path: str | Path) -> dict[str, Any]:
    """A training checkpoint as plain data on the CPU, known to be of this zoo and of a known format.

    Raises:
        CheckpointError: see :func:`zoo.archive.read`; also a file of another program, or of an unknown format.
    """
    path = Path(path)
    checkpoint = archive.read(path)
    entry = checkpoint.get("zoo") if isinstance(checkpoint, dict) else None
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(entry, dict) or not isinstance(weights, dict) or not all(isinstance(key, str) for key in weights):
        raise CheckpointError(f"{path} is a PyTorch file of another program, not a checkpoint of this zoo")
    _check(entry, path)
    return checkpoint


def _check(entry: dict[str, Any], path: Path) -> None:
    version = entry.get("format")
    if not isinstance(version, int) or version != FORMAT:
        found = plain.short(version)
        raise CheckpointError(f"{path} has format {found}; this version of the zoo reads format {FORMAT}")
    model = entry.get("model")
    kinds = {"name": str, "spec": dict, "options": dict}
    if not isinstance(model, dict) or any(not isinstance(model.get(key), kind) for key, kind in kinds.items()):
        raise CheckpointError(f"{path} does not say which model it holds: it is damaged")


def read_model(path: Path, ema: bool = True) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """What ``path``, a ``.ckpt`` or a released model's folder, says of a model: how it is built (``name``, ``spec``,
    ``options``), its weights, and the ``ImageDataModule`` state of its training, {} if unknown; a release has no paths.

    Raises ``CheckpointError`` as :func:`read` does.

    ``ema``: the averaged weights where the checkpoint has them; False: the raw ones.
    """
    return _read_released(path) if path.is_dir() else _read_training(path, ema)


def _read_training(path: Path, ema: bool) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    checkpoint = read(path)
    weights = checkpoint["state_dict"]
    state: dict[str, Tensor] = {}
    for prefix in ("model.", "ema.module.") if ema else ("model.",):  # the average may be of a part of the model
        state |= {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    return checkpoint["zoo"]["model"], state, checkpoint.get("ImageDataModule", {})


def _read_released(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    entry = released_config(folder)
    return entry["model"], read_tensors(_weights(folder, entry)), _without_paths(entry.get("data", {}))


def _weights(folder: Path, entry: Mapping[str, Any]) -> Path:
    """The weights of a release: beside its ``config.json``, or, of the zoo's own that an installation leaves out, in
    the user's cache, where they are fetched to once from what :data:`SHELF` names."""
    path, digest = folder / WEIGHTS, entry.get("sha256")
    if os.path.lexists(path) or not isinstance(digest, str) or folder.parent != PRETRAINED:
        return path
    kept = cache() / "weights" / f"{folder.name}-{digest[:16]}.safetensors"
    right = lambda content: hashlib.sha256(content).hexdigest() == digest  # noqa: E731
    if kept.is_file() and right(kept.read_bytes()):
        return kept
    shelf = os.environ.get(SHELF, "")
    if not shelf:
        raise CheckpointError(
            f"the weights of {folder.name} are not in this installation: {SHELF}=… names the address or the folder "
            "that has them, such as pretrained/ of a checkout"
        )
    place = shelf if "://" in shelf else user_path(shelf).resolve().as_uri()
    try:
        content = download.first_right([f"{place.rstrip('/')}/{folder.name}/{WEIGHTS}"], right)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(kept, content)
    except (ZooError, OSError) as error:
        raise CheckpointError(f"the weights of {folder.name} cannot be fetched: {error}") from error
    return kept


def _without_paths(data: dict[str, Any]) -> dict[str, Any]:
    """Paths are of one machine, and no release is to name the files that are read on another."""
    return {key: value for key, value in data.items() if key not in (*PATH_OPTIONS, "root")}


def released_config(folder: Path) -> dict[str, Any]:
    """What a released model's ``config.json`` says: ``model``, and ``training`` and ``data`` where they were given.

    Raises ``CheckpointError`` where it does not describe a model.
    """
    entry = plain.read_json(folder / ENTRY, CheckpointError, CONFIG)
    if not isinstance(entry, dict) or any(not isinstance(entry.get(key, {}), dict) for key in ("training", "data")):
        raise CheckpointError(f"{folder / 'config.json'} does not describe a model")
    _check(entry, folder)
    return entry


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises ``CheckpointError`` where it cannot be read, or is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    size = plain.check_file(path, CheckpointError)
    try:
        with path.open("rb") as file:
            start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(HEADER, size - 8):
            raise CheckpointError(f"{path} is no safetensors file, or a damaged one: its header does not fit")
        return load_file(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except CheckpointError:
        raise
    except (ValueError, RuntimeError, TypeError, KeyError, MemoryError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is no safetensors file, or a damaged one: {reason[:200]}") from error


def save(
    model: Model,
    folder: str | Path,
    card: str = "",
    training: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Release a model: write ``model.safetensors``, ``config.json`` and ``README.md`` to a new ``folder``.

    >>> import zoo
    >>> import tempfile
    >>> folder = zoo.save(zoo.create("mlp"), tempfile.mkdtemp() + "/mlp")
    >>> sorted(path.name for path in folder.iterdir())
    ['README.md', 'config.json', 'model.safetensors']

    Args:
        model: made by ``zoo.create`` or ``zoo.load``.
        folder: must not exist yet; it appears whole or not at all.
        card: Markdown for the README: what the model is, what it reaches, the command that trained it.
        training: plain data on how it came about, kept in ``config.json``.
        data: what its training's splits were made from, see :func:`zoo.registry.load_with_source`; but for paths.
        half: numbers of half precision.

    Returns:
        The folder; ``zoo.load`` reads it.

    Raises:
        CheckpointError: the folder exists, or the model's vocabulary is larger than is read.
    """
    from safetensors.torch import save as to_bytes

    folder = user_path(folder)
    if folder.exists():
        raise CheckpointError(f"{folder} exists already; a release is never overwritten")
    # copies: safetensors refuses tensors that share memory, such as tied weights
    state = {
        key: (value.half() if half and value.is_floating_point() else value)
        .detach()
        .cpu()
        .clone(memory_format=torch.contiguous_format)
        for key, value in model.state_dict().items()
    }
    weights = to_bytes(state)
    more = {"training": training, "data": _without_paths(data or {}), "sha256": hashlib.sha256(weights).hexdigest()}
    entry = json_text(describe(model) | {key: value for key, value in more.items() if value})
    if len(entry) > CONFIG:
        raise CheckpointError(
            f"{folder} would have a config.json of {len(entry):,} bytes, at most {CONFIG:,} are read: a release of "
            "fewer terms, data.vocabulary=…, or the run's checkpoint will do"
        )
    with new_folder(folder) as temporary:
        (temporary / WEIGHTS).write_bytes(weights)
        (temporary / ENTRY).write_text(entry, "utf-8")
        card = card or f'# {model.name}\n\n`zoo.load("{folder.name}")`\n'
        (temporary / "README.md").write_text(card, "utf-8", "spelled")
    return folder


# What a training goes on with

_WHOLE = lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63  # noqa: E731
_NUMBER = (int, float)


def _progress(value: Any) -> bool:
    """Whether this is how far a loop has come: counts of this time and of all."""
    if not isinstance(value, dict) or not {"total", "current"} <= set(value):
        return False
    counts = [count for key in ("total", "current") if isinstance(value[key], dict) for count in value[key].values()]
    return bool(counts) and all(map(_WHOLE, counts))


def _rng(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.uint8 and value.dim() == 1


def _optimizer(value: Any) -> bool:
    """Whether this is the state of an optimiser; ``{}`` is that of none."""
    shape = {"state": {int: {str: object}}, "param_groups": [{"lr": (*_NUMBER, Tensor), "params": [_WHOLE]}]}
    if value == {} or plain.shape_of(value, shape):
        return value == {}
    known = {index for group in value["param_groups"] for index in group["params"]}
    return value["state"].keys() <= known


_TRAINING = {
    "epoch": _WHOLE,
    "global_step": _WHOLE,
    "pytorch-lightning_version": str,
    "ImageDataModule": {"name": str, "fingerprint": str},
    "loops": {
        "fit_loop": {
            "state_dict": dict,
            "epoch_loop.state_dict": {"_batches_that_stepped": _WHOLE},
            "epoch_loop.batch_progress": _progress,
            "epoch_loop.scheduler_progress": _progress,
            "epoch_loop.automatic_optimization.state_dict": dict,
            "epoch_loop.automatic_optimization.optim_progress": {
                "optimizer": {"step": _progress, "zero_grad": _progress}
            },
            "epoch_loop.manual_optimization.state_dict": dict,
            "epoch_loop.manual_optimization.optim_step_progress": _progress,
            "epoch_loop.val_loop.state_dict": dict,
            "epoch_loop.val_loop.batch_progress": _progress,
            "epoch_progress": {"current": {"processed": _WHOLE}, "total": {"processed": _WHOLE}},
        },
        **{
            f"{name}_loop": {"state_dict": dict, "batch_progress": _progress}
            for name in ("validate", "test", "predict")
        },
    },
    "callbacks": {str: dict},
    "optimizer_states": [_optimizer],
    "lr_schedulers": [{str: object}],
    "rng": {"cpu": _rng},
}
_EPOCH = {"totals": {str: object}, "means": dict, "seconds": _NUMBER, "batches": _WHOLE, "processes": _WHOLE}
_KEPT = {
    "best": (*_NUMBER, type(None)),
    "metrics": {str: _NUMBER},
    "epochs": _WHOLE,
    "steps": _WHOLE,
    "seconds": _NUMBER,
}
_LATER = {  # what not every regime, or every version, writes
    "loader": lambda value: value is None or not plain.shape_of(value, {"next": _WHOLE}),
    "so_far": lambda value: value is None or not plain.shape_of(value, _EPOCH),
    "em": {"log_likelihood": (*_NUMBER, type(None)), "converged": bool, "sums": {str: Tensor}},
}


def read_training(path: Path) -> dict[str, Any]:
    """As :func:`read`, of what a training goes on with. Raises ``CheckpointError`` as :func:`check_training` does."""
    state = read(path)
    check_training(state, path)
    return state


def check_training(state: dict[str, Any], path: Path) -> None:
    """Raise ``CheckpointError`` where what :func:`read` gave is not of the shape that a training is written in.

    Loops, optimisers, schedules, random streams and batches are looked at, and what belongs to one regime where it is
    there. Whether an optimiser's averages are those of the model's weights, only their owner knows.
    """
    wrong = plain.shape_of(state, _TRAINING)
    for key, shape in _LATER.items():
        if not wrong and key in state:
            wrong = (inner := plain.shape_of(state[key], shape)) and f".{key}{inner}"
    if not wrong and "Checkpoints" in state["callbacks"]:
        wrong = (inner := plain.shape_of(state["callbacks"]["Checkpoints"], _KEPT)) and f".callbacks{inner}"
    if (
        not wrong and type(state["callbacks"].get("Checkpoints", {}).get("since", 0)) is not int
    ):  # which older ones lack
        wrong = ".callbacks.Checkpoints.since is no number"
    if not wrong and len(state["rng"]["cpu"]) != len(torch.get_rng_state()):
        wrong = f".rng.cpu has {len(state['rng']['cpu'])} bytes"
    if wrong:
        raise CheckpointError(f"{path} cannot be gone on from, it is damaged: its training{wrong}")
