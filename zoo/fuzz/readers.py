"""Readers of the zoo, each with files that it reads: what is changed to see whether it still does, or says why not."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from hydra import initialize_config_dir
from PIL import Image

import zoo
from zoo import checkpoint, config
from zoo.data import idx, kinds
from zoo.data.kinds import image
from zoo.data.kinds.sound import Reading, read_file
from zoo.data.sources import sms_spam
from zoo.data.splits import load_splits
from zoo.errors import ZooError
from zoo.files import CONFIGS, RESULTS
from zoo.spec import DataSpec

Files = Mapping[str, bytes]
SPEC = DataSpec((1, 8, 8), 3)
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden_sizes": [4]}, "cnn": {"channels": [2, 2]}, "gmm": {"num_components": 2, "pca": 4},
    "hmm": {"num_states": 2}, "vae": {"latent_dim": 2, "hidden_sizes": [4]}, "dcgan": {"channels": 2, "latent_dim": 2},
    "svm": {"num_features": 8}, "naive_bayes": {}, "probe": {},
}  # fmt: skip
RECORDED = ("wav", "flac", "ogg", "mp3", "aiff")
FORMATS = {"png": "L", "jpg": "RGB", "bmp": "L", "gif": "P", "tif": "I;16", "webp": "RGBA", "pgm": "L", "ico": "RGBA"}


@dataclass(frozen=True)
class Reader:
    """Something that reads files.

    Attributes:
        files: what it reads, by path below a folder; all of them right.
        read: reads them there. Raises ``ZooError`` for what is wrong.
        changed: names of the files that are to be changed; all if empty.
        share: how often it is asked, of one that takes no time.
    """

    files: Files
    read: Callable[[Path], object]
    changed: tuple[str, ...] = ()
    share: float = 1.0


def readers(cases: Path) -> dict[str, Reader]:
    """All readers by name. What takes a training is made in the folder ``cases``, once."""
    found: dict[str, Reader] = {}
    for name in MODELS:
        model = model_of(name)
        found[f"checkpoint of {name}"] = Reader(
            {"a.ckpt": saved(content_of(model))}, lambda at: zoo.load(at / "a.ckpt")
        )
        found[f"release of {name}"] = Reader(released(model, cases), zoo.load)
    pictures = torch.arange(2 * 4 * 4, dtype=torch.uint8).view(2, 4, 4)
    found["IDX"] = Reader({"a": idx.idx_bytes(pictures)}, lambda at: idx.read_idx(at / "a", whole=True))
    found["IDX, gzipped"] = Reader({"a.gz": packed(idx.idx_bytes(pictures))}, lambda at: idx.read_idx(at / "a.gz"))
    for suffix, mode in FORMATS.items():
        found[f"picture, {suffix}"] = Reader(
            {f"a.{suffix}": picture(suffix, mode)}, functools.partial(_picture, suffix)
        )
    for suffix in RECORDED:
        found[f"recording, {suffix}"] = Reader(
            {f"a.{suffix}": recording(suffix)}, functools.partial(_recording, suffix)
        )
    found["table"] = Reader({"a.csv": b"a,b,class\n1,2,x\n3,,y\n"}, _table)
    found["table of texts"] = Reader(
        {"texts.csv": b"text,class\nwin \xc2\xa35 now,x\nsee you,y\nwin,x\nyou,y\n"}, _own_texts
    )
    found["folder of texts"] = Reader({f"{name}/{n}.txt": name.encode() for name in "ab" for n in range(3)}, _own_texts)
    found["texts, a line each"] = Reader({"a.txt": "so good 😀\nné à 1,000\n".encode()}, _lines)
    messages = {f"sms-spam/{sms_spam.FILE}": b"ham\tsee you\nspam\twin\n"}
    found["published texts"] = Reader(messages, lambda at: load_splits("sms_spam", at))
    packed_rows = {"german-credit/statlog+german+credit+data.zip": zipped("german.data", b"A11 6 A34\n" * 20)}
    found["published archive"] = Reader(packed_rows, lambda at: load_splits("german_credit", at))
    found["cache of pictures"] = _cache(cases)
    table = (RESULTS / "textbook" / "models.json").read_bytes()
    found["table of models"] = Reader({"models.json": table}, _models)
    run = trained(cases)
    found["run's config"] = Reader(run, _resumed, ("config.yaml",), 0.2)
    found["run that is resumed"] = Reader(run, _go_on, ("last.ckpt", "metrics.csv", "summary.json"), 0.09)
    return found


def model_of(name: str) -> Any:
    """A small model of each kind, always the same."""
    torch.manual_seed(0)
    options = dict(MODELS[name])
    if name == "probe":
        options["encoder"] = model_of("vae").config
    return zoo.create(name, SPEC, **options)


def content_of(model: Any) -> dict[str, Any]:
    """What of a checkpoint a model is loaded from."""
    source = {"name": "digits", "val_size": 0, "train_size": 0, "split_seed": 0, "fingerprint": "0"}
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    return {"epoch": 1, "zoo": checkpoint.describe(model), "state_dict": state, "ImageDataModule": source}


def saved(content: Any) -> bytes:
    """As ``torch.save`` writes it."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def released(model: Any, cases: Path) -> dict[str, bytes]:
    folder = cases / f"release-{model.name}"
    if not folder.is_dir():
        checkpoint.save(model, folder)
    return {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}


def packed(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content, mtime=0)


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def picture(suffix: str, mode: str, size: tuple[int, int] = (9, 7)) -> bytes:
    values = np.arange(size[0] * size[1] * 4, dtype=np.uint16).reshape(size[1], size[0], 4)
    deep = Image.fromarray(values[..., 0] * 997) if mode == "I;16" else None
    file = io.BytesIO()
    (deep or Image.fromarray(values.astype(np.uint8), "RGBA").convert(mode)).save(
        file, {"jpg": "JPEG", "tif": "TIFF", "pgm": "PPM"}.get(suffix, suffix.upper())
    )
    return file.getvalue()


def recording(suffix: str, seconds: float = 0.05, rate: int = 16_000) -> bytes:
    import soundfile

    samples, file = np.sin(np.arange(round(seconds * rate)) / 5) / 2, io.BytesIO()
    soundfile.write(file, np.stack([samples, samples], 1), rate, format=suffix.upper())
    return file.getvalue()


def _recording(suffix: str, at: Path) -> object:
    return read_file(at / f"a.{suffix}", Reading(steps=8))


def _picture(suffix: str, at: Path) -> object:
    return image.read_picture(at / f"a.{suffix}", (8, 8), False, "auto", "ink")


def _table(at: Path) -> object:
    return kinds.find("table").read([at / "a.csv"], DataSpec((1, 1, 2), 2, kind="table", values="real"))


def _own_texts(at: Path) -> object:
    table = at / "texts.csv"
    if table.exists():
        return load_splits("labelled_text", at, path=table, text="text", target="class", ngrams=2)
    return load_splits("labelled_text", at, path=at, ngrams=2)


def _lines(at: Path) -> object:
    tokens = kinds.find("tokens")
    return tokens.read([at / "a.txt"], tokens.trial(4)[1])


def _models(at: Path) -> object:
    from zoo.textbook import choose

    table = choose.read(at, "mnist")
    return choose.answers(table), choose.choose(table, ["accuracy", "speed"], choose.Limits(seconds=1000))


def _cache(cases: Path) -> Reader:
    """Decoded pictures; those that they were made of have the time that the cache's name knows."""
    folder = cases / "pictures"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            path = folder / name / f"{number}.png"
            if not path.exists():
                Image.new("L", (5, 5), 40 * number + (name == "b")).save(path)
    load_splits("image_folder", cases, path=folder, image_size=8)
    (cache,) = (cases / ".cache").iterdir()
    names = ("meta.json", "images.npy", "records.npy")
    files = {f".cache/{cache.name}/{name}": (cache / name).read_bytes() for name in names}
    return Reader(files, lambda at: load_splits("image_folder", at, path=folder, image_size=8))


@functools.lru_cache(maxsize=2)
def trained(cases: Path) -> dict[str, bytes]:
    """The files of a run of one epoch, that another one would go on with."""
    if not (cases / "runs").is_dir():
        words = ["model=mlp", "model.hidden_sizes=[4]", "data=digits", "data.batch_size=256", "logger=none",
                 "trainer=cpu", "trainer.max_epochs=1", "learner.ema=0.9", f"runs={cases / 'runs'}"]  # fmt: skip
        _train(words)
    (run,) = (cases / "runs").iterdir()
    return {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}


def _resumed(at: Path) -> object:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return config.resumed(at, [])


def _go_on(at: Path) -> None:
    _train([f"resume={at}", "trainer.max_epochs=2"])


def _train(words: list[str]) -> None:
    """``python train.py`` in this process. Raises ``ZooError`` with what it says where it refuses."""
    from zoo.commands import train

    said = io.StringIO()
    with mock.patch.object(sys, "argv", ["train.py", *words]), mock.patch.dict(os.environ):
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                train.main()
        except SystemExit as end:
            if end.code == 2:
                raise ZooError(said.getvalue().strip()) from end
            if end.code:
                raise RuntimeError(f"exit status {end.code}: {said.getvalue()}") from end
