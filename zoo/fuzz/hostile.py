"""Files that would have a reader do something: run code, import a module, open a file, write outside.

Each is written beside a file that must not come to be, ``canary``; it does if one of them is believed.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import zoo
from zoo.fuzz.bombs import Bomb
from zoo.fuzz.readers import Reader, content_of, model_of, saved

CANARY = "canary"
CALLS: dict[str, Callable[[str], tuple[Any, ...]]] = {  # functions, and what has them touch a file
    "os system": lambda mark: (f"touch '{mark}'",),
    "posix system": lambda mark: (f"touch '{mark}'",),
    "subprocess call": lambda mark: (["touch", mark],),
    "subprocess check_output": lambda mark: (["touch", mark],),
    "builtins eval": lambda mark: (f"open({mark!r}, 'w')",),
    "builtins exec": lambda mark: (f"open({mark!r}, 'w')",),
    "builtins open": lambda mark: (mark, "w"),
    "io open": lambda mark: (mark, "w"),
    "os mkdir": lambda mark: (mark,),
    "os mkfifo": lambda mark: (mark,),
    "shutil copy": lambda mark: ("/etc/hostname", mark),
    "runpy run_path": lambda mark: (str(Path(mark).with_name("code.py")),),
    "pickle loads": lambda mark: (pickle.dumps(_Call("os mkdir", (mark,)), 2),),
    "torch save": lambda mark: ({}, mark),
    "numpy save": lambda mark: (f"{mark}.npy", [1]),
    "zoo.files write_text": lambda mark: (mark, "x"),
}
PLACES = ("alone", "note", "state_dict", "options")


class _Call:
    """Unpickled, it calls a function."""

    def __init__(self, function: str, arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        module, _, name = self.function.partition(" ")
        return getattr(__import__(module, fromlist=[name]), name), self.arguments


def hostile(readers: Mapping[str, Reader]) -> dict[str, Bomb]:
    """All hostile files by name: what writes one into a folder, and what reads it there."""
    found: dict[str, Bomb] = {}
    for number, (function, arguments) in enumerate(CALLS.items()):
        for place in (PLACES[number % len(PLACES)], PLACES[(number + 1) % len(PLACES)]):
            found[f"checkpoint: {function} as {place}"] = (partial(_charged, function, arguments, place), _load)
        found[f"weights: {function}"] = (partial(_charged_weights, readers, function, arguments), zoo.load)
    for name in ("os.system", "zoo.models.mlp.MLP", "torch.nn.Linear", "../mlp", "/etc/passwd", "code", "./code",
                 "code.py", "__main__", "_classifier", "mlp\0", "zoo_user_models.code"):  # fmt: skip
        found[f"checkpoint: the model {name!r}"] = (partial(_named, name), _load)
    for what in ("a.ckpt", "/dev/zero", "pipe", "..", "~"):
        found[f"checkpoint: a probe whose encoder is {what}"] = (partial(_probe, what), _load)
    config = readers["run's config"]
    for place, value in (("model.name", "../../code"), ("model.name", "code"), ("data.name", "os"),
                         ("learner.name", "../x"),
                         ("logger.name", "[none]"), ("model._target_", "os.system"), ("hydra.run.dir", ".."),
                         ("data.seed", "${oc.env:HOME}"), ("seed", "${oc.env:SEED,1}"), ("data.batch_size", "${seed}"),
                         ("trainer.callbacks._target_", "os.system"), ("defaults", ["/code"])):  # fmt: skip
        found[f"config: {place}={value}"] = (partial(_config, config, place, value), config.read)
    for function in ("os.system", "builtins.eval", "subprocess.check_output"):
        text = f"!!python/object/apply:{function} [touch {CANARY}]"
        found[f"config: {function}"] = (partial(_text, config, "config.yaml", text), config.read)
    cache = readers["cache of pictures"]
    for end in ("images.npy", "records.npy"):
        file = next(name for name in cache.files if name.endswith(end))
        found[f"cache of pictures: objects in {end}"] = (partial(_objects, cache, file), cache.read)
    for entry in ("../a/data.pkl", "/data.pkl", "a/../data.pkl"):
        found[f"checkpoint: the entry {entry}"] = (partial(_entry, entry), _load)
    return found


def _load(at: Path) -> object:
    return zoo.load(at / "a.ckpt")


def _charged(function: str, arguments: Callable[[str], tuple[Any, ...]], place: str, at: Path) -> None:
    (at / "code.py").write_text(f"open({str(at / CANARY)!r}, 'w')", "utf-8")
    content, charge = content_of(model_of("mlp")), _Call(function, arguments(str(at / CANARY)))
    if place == "alone":
        content = charge  # type: ignore[assignment]
    elif place == "note":
        content["note"] = charge
    elif place == "state_dict":
        content["state_dict"]["model.head.bias"] = charge
    else:
        content["zoo"]["model"]["options"]["hidden_sizes"] = charge
    (at / "a.ckpt").write_bytes(saved(content))


def _charged_weights(
    readers: Mapping[str, Reader], function: str, arguments: Callable[[str], tuple[Any, ...]], at: Path
) -> None:
    """A pickle that is called a release's weights."""
    (at / "config.json").write_bytes(readers["release of mlp"].files["config.json"])
    (at / "model.safetensors").write_bytes(pickle.dumps(_Call(function, arguments(str(at / CANARY)))))


def _named(name: str, at: Path) -> None:
    (at / "code.py").write_text(f"open({str(at / CANARY)!r}, 'w')", "utf-8")
    content = content_of(model_of("mlp"))
    content["zoo"]["model"]["name"] = name.replace("code", str(at / "code"))
    (at / "a.ckpt").write_bytes(saved(content))


def _probe(what: str, at: Path) -> None:
    """What it names could be opened."""
    content = content_of(model_of("probe"))
    content["zoo"]["model"]["options"]["encoder"] = what if what[0] in "/~" else str(at / what)
    if what == "pipe":
        import os

        os.mkfifo(at / "pipe")
    (at / "a.ckpt").write_bytes(saved(content))


def _config(reader: Reader, place: str, value: Any, at: Path) -> None:
    content = yaml.safe_load(reader.files["config.yaml"])
    *above, last = place.split(".")
    node = content
    for key in above:
        node = node.setdefault(key, {})
    node[last] = value
    _text(reader, "config.yaml", json.dumps(content), at)


def _text(reader: Reader, file: str, text: str, at: Path) -> None:
    for name, content in {**reader.files, file: text.replace(CANARY, str(at / CANARY)).encode()}.items():
        (at / name).write_bytes(content)


def _objects(reader: Reader, file: str, at: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.array([_Call("os mkdir", (str(at / CANARY),))], object), allow_pickle=True)
    for name, whole in {**reader.files, file: content.getvalue()}.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(whole)


def _entry(name: str, at: Path) -> None:
    with zipfile.ZipFile(at / "a.ckpt", "w") as members:
        members.writestr(name, pickle.dumps({}, 2))
        members.writestr("a/data.pkl", pickle.dumps(_Call("os mkdir", (str(at / CANARY),)), 2))
