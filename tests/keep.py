"""Checkpoints, releases and answers of every model, written once and kept: ``python tests/keep.py <folder>``.

What an earlier version of the zoo trained has to be read by every later one, and to answer alike. ``tests/kept`` holds,
for each case, ``last.ckpt`` as ``train.py`` wrote it, ``release/`` as ``zoo.save`` did, and ``answers.safetensors``:
what the model said of the same pictures or texts. A case that is added is written by this file; one that is there is
never written again, but for answers that are asked for in another way since: what is estimated by importance sampling,
whose noise is each image's own.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from conftest import run_train
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

import zoo
from zoo.capability import support
from zoo.data import kinds
from zoo.data.splits import Split, stratified
from zoo.tasks.evaluate import evaluate

KEPT = Path(__file__).parent / "kept"
SIDE, CLASSES, EACH = 12, ("a", "b", "c"), 24
TEXTS = "texts.csv"
VAE = ("model=vae", "model.latent_dim=3", "model.hidden_sizes=[16]")
CASES: dict[str, tuple[str, ...]] = {
    "logistic_regression": ("model=logistic_regression",),
    "svm": ("model=svm", "model.num_features=64"),
    "svm-linear": ("model=svm", "model.kernel=linear"),
    "mlp": ("model=mlp", "model.hidden_sizes=[8]", "learner.ema=0.9"),
    "cnn": ("model=cnn", "model.channels=[4,8]", "model.dropout=0.1", "model.shifts=true"),
    "lenet": ("model=lenet", "model.channels=[4,6]", "model.num_features=8"),
    "rnn": ("model=rnn", "model.hidden_size=6"),
    "rnn-pixels": ("model=rnn", "model.hidden_size=6", "model.cell=gru", "model.reads=pixels"),
    "rnn-columns": ("model=rnn", "model.hidden_size=6", "model.cell=vanilla", "model.reads=columns"),
    "naive_bayes": ("model=naive_bayes",),
    "naive_bayes-gaussian": ("model=naive_bayes", "model.emission=gaussian", "model.var_smoothing=0.01"),
    "naive_bayes-hidden": ("model=naive_bayes", "data.labels=9", "trainer.max_epochs=4"),
    "gmm": ("model=gmm", "model.num_components=2", "model.pca=6"),
    "gmm-low_rank": ("model=gmm", "model.num_components=2", "model.pca=0", "model.covariance=low_rank", "model.rank=2"),
    "gmm-diag": ("model=gmm", "model.num_components=2", "model.pca=0", "model.covariance=diag"),
    "gmm-one": ("model=gmm", "model.num_components=4", "model.pca=6", "model.covariance=tied", "model.per_class=false"),
    "gmm-hidden": ("model=gmm", "model.num_components=2", "model.pca=6", "data.labels=9", "trainer.max_epochs=4"),
    "gmm-gradient": ("model=gmm", "model.num_components=2", "model.pca=6", "learner=likelihood", "learner.ema=0.9"),
    "hmm": ("model=hmm", "model.num_states=3"),
    "hmm-bernoulli": ("model=hmm", "model.num_states=3", "model.emission=bernoulli", "model.reads=columns"),
    "hmm-pixels": ("model=hmm", "model.num_states=3", "model.reads=pixels", "model.topology=ergodic"),
    "hmm-lags": ("model=hmm", "model.num_states=3", "model.lags=1", "model.covariance=diag"),
    "hmm-one": ("model=hmm", "model.num_states=3", "model.per_class=false"),
    "vae": (*VAE, "learner.ema=0.9"),
    "vae-flow": (*VAE, "model.network=conv", "model.channels=[4,8]", "model.prior=realnvp", "model.flow_layers=2",
                 "model.flow_width=8", "model.likelihood=continuous_bernoulli"),
    "vae-conditional": (*VAE, "model.conditional=true", "model.num_samples=3",
                        "model.likelihood=discretized_logistic"),
    "dcgan": ("model=dcgan", "model.channels=4", "model.latent_dim=8"),
    "dcgan-conditional": ("model=dcgan", "model.channels=4", "model.latent_dim=8", "model.conditional=true",
                          "model.spectral_norm=true", "model.gradient_penalty=1"),
    "m2": ("model=m2", *VAE[1:], "model.classify_weight=5", "data.labels=9"),
    "m2-flow": ("model=m2", *VAE[1:], "model.classify_weight=5", "data.labels=9", "model.prior=realnvp",
                "model.flow_layers=2", "model.flow_width=8"),
    "probe": ("model=probe", "model.encoder={encoder}"),
    "naive_bayes-texts": ("model=naive_bayes", "data=labelled_text"),
    "nbsvm": ("model=nbsvm", "data=labelled_text", "data.ngrams=2"),
}  # fmt: skip


def write_pictures(folder: Path) -> None:
    """Twelve by twelve pixels, three classes: a bar that lies, one that stands, a square; with noise.

    What is in ``test/`` was drawn by the number of a picture when the first cases were kept.
    """
    generator = np.random.default_rng(0)
    total = EACH * len(CLASSES)
    _, drawn = stratified(torch.arange(total) // EACH, round(0.2 * total), torch.Generator().manual_seed(0))
    for label, name in enumerate(CLASSES):
        for split in ("train", "test"):
            (folder / split / name).mkdir(parents=True)
        for number in range(EACH):
            split = "test" if label * EACH + number in drawn else "train"
            pixels = generator.integers(0, 60, (SIDE, SIDE))
            top, left = generator.integers(1, 4, 2)
            tall, wide = ((3, 8), (8, 3), (6, 6))[label]
            pixels[top : top + tall, left : left + wide] += generator.integers(120, 190)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number:02}.png")


def write_texts(file: Path) -> None:
    """Four to nine words of fifteen; each of three classes prefers five of them."""
    generator = np.random.default_rng(0)
    known = [first + second + third for first in "blt" for second in "aeiou" for third in "n"]
    lines = ["text,class"]
    for number in range(EACH * len(CLASSES)):
        label = number % len(CLASSES)
        chosen = generator.integers(0, len(known), generator.integers(4, 10))
        chosen = np.where(generator.random(len(chosen)) < 0.5, chosen % 5 + 5 * label, chosen)
        lines.append(f"{' '.join(known[word] for word in chosen)},{CLASSES[label]}")
    file.write_text("\n".join([*lines, ""]), "utf-8")


def words(case: str, pictures: Path, encoder: Path) -> list[str]:
    """The words of ``train.py`` that train a case, on ``pictures``, or on the texts in the file beside them."""
    own = [word.replace("{encoder}", str(encoder)) for word in CASES[case]]
    common = ["data.batch_size=16", "data.val_size=9", "logger=none", "trainer.max_epochs=2", "trainer.accelerator=cpu"]
    if "data=labelled_text" in own:
        return [f"data.path={pictures.parent / TEXTS}", "data.text=text", "data.target=class", *common, *own]
    return [
        "data=image_folder", f"data.path={pictures}", f"data.root={pictures.parent}", f"data.image_size={SIDE}",
        "data.invert=never", "data.augment={shift: 1, erase: 0.2}", *common, *own,
        "~recipe",  # they were kept before folders had one
    ]  # fmt: skip


def questions(spec: zoo.DataSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures ``(6, 1, 12, 12)`` in [0, 1], 256 levels, or texts ``(6, 1, 1, 9)`` of known words, unknown ones and
    nothing; their classes; which pixels, or words, are seen."""
    generator, labels = torch.Generator().manual_seed(7), torch.arange(6) % len(CLASSES)
    if spec.kind == "tokens":
        x = torch.randint(-1, spec.shape[2] + 1, (6, 1, 1, 9), generator=generator)
    else:
        x = torch.randint(256, (6, 1, SIDE, SIDE), generator=generator).float() / 255
    return x, labels, torch.rand(x.shape, generator=generator) < 0.6


def answers(model: torch.nn.Module) -> dict[str, Tensor]:
    """Everything that a model can be asked, from fixed seeds."""
    x, labels, observed = questions(model.spec)

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(3)

    can = {question: support(model, question) != "no" for question in zoo.capabilities("cnn")["cnn"]}
    classes = getattr(model, "log_prior", None) is not None
    found = {}
    if can["classify"]:
        found["classify"] = zoo.classify(model, x)
        # what classifiers see in the place of hidden pixels, when these were first kept
        fill = None if model.marginalises or model.spec.kind == "tokens" else "mean"
        found["classify_missing"] = zoo.classify(model, x, observed, fill=fill)
    if can["log_prob"]:
        found["log_prob"] = zoo.log_prob(model, x)
        if classes:
            found["log_prob_labels"] = zoo.log_prob(model, x, labels)
        if not getattr(model, "lags", 0):
            found["log_prob_observed"] = zoo.log_prob(model, x, observed=observed)
    if can["encode"]:
        found["encode"] = zoo.encode(model, x)
    if can["reconstruct"]:
        found["reconstruct"] = zoo.reconstruct(model, x)
    if can["sample"]:
        found["sample"] = zoo.sample(model, 4, generator=seeded())
        if classes:
            found["sample_labels"] = zoo.sample(model, 6, labels, generator=seeded())
    if can["interpolate"]:
        found["interpolate"] = zoo.interpolate(model, 2, steps=3, generator=seeded())
    if can["impute"]:
        found["impute"] = zoo.impute(model, x, observed, n=2, generator=seeded())
        if hasattr(model, "conditional_mean"):
            found["impute_mean"] = zoo.impute(model, x, observed, mean=True)
    if can["anomaly_score"]:
        found["anomaly_score"] = zoo.anomaly_score(model, x)
    if can["classify"] or can["log_prob"]:
        split = Split(kinds.find(model.spec.kind).encode(x), labels, model.spec.kind)
        figures = {key: value for key, value in evaluate(model, split).metrics.items() if isinstance(value, float)}
        figures.pop("macro_f1", None)  # which came later
        found["evaluate"] = torch.tensor([figures[key] for key in sorted(figures)], dtype=torch.float64)
    return {key: value.contiguous() for key, value in found.items()}


def without_paths(value: object) -> object:
    """A checkpoint's content with the name of a file or folder in place of its path."""
    if isinstance(value, dict):
        return {without_paths(key): without_paths(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_paths(entry) for entry in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def keep(case: str, out: Path, place: Path, encoder: Path) -> None:
    """Train a case and write what is kept of it into ``out/<case>``."""
    torch.set_num_threads(1)
    run = run_train(place / case, *words(case, place / "pictures", encoder))
    model = zoo.load(run / "last.ckpt")
    folder = out / case
    folder.mkdir(parents=True)
    torch.save(without_paths(torch.load(run / "last.ckpt", weights_only=True)), folder / "last.ckpt")
    zoo.save(model, folder / "release")
    save_file(answers(model), folder / "answers.safetensors")


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        write_pictures(place / "pictures")
        write_texts(place / TEXTS)
        for case in CASES:
            if not (out / case).is_dir():
                shutil.rmtree(out / case, ignore_errors=True)
                keep(case, out, place, out / "vae" / "release")
                print(case, json.dumps(CASES[case]))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else KEPT)
