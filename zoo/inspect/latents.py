"""What a model with a latent space shows while it is trained: pictures, and a warning where it collapses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from zoo import capability, terminal
from zoo.base.generative import Latent
from zoo.base.memory import at_once
from zoo.base.model import evaluating
from zoo.data import kinds
from zoo.data.splits import Split, evenly
from zoo.files import write_bytes
from zoo.inspect.grids import grid, png, scatter
from zoo.metrics.modes import class_shares, modes_covered

SIDE = 8  # images in a row and in a column
CLASSES = 10  # shown at most
STEPS, REACH = 9, 2.5  # of a traversal, from −REACH to REACH: all but 1.2 % of a standard normal
CODED = 1000  # images whose codes are looked at
SAMPLED = 256  # images that are counted by class, at most: fewer where they are large
COMPARED = 200  # images whose distances are measured
ACTIVE = 0.01  # variance of a latent's posterior mean from which on it is in use (Burda et al. 2016, section 5.2)
SEED = 0  # of the latents that are shown: the same ones each time
TIMES = 20  # that they are drawn in a training, about


class LatentPictures(Checkpoint):
    """Draws :func:`pictures`, measures how much of the latent space is in use, and warns: at the end of each epoch, or,
    of many, about :data:`TIMES` times in a training, and of the last one in any case.

    The pictures are files in ``folder``, the latest ones, and in TensorBoard ``model/<name>``, all of them. Logged
    with them: ``samples/diversity``, the mean distance of two samples (of the same class where there are classes) over
    that of two real images, where there are two; with ``classify`` ``samples/modes_covered``, how many classes samples
    fall into; of a model with an encoder ``latent/active_units``, and in TensorBoard a histogram ``latent/kl`` of the
    KL divergence of each dimension from a standard normal, in nats.

    Warnings, each once in a run, are lines on the console and texts in TensorBoard: :func:`posterior_collapse`,
    :func:`mode_collapse`, :func:`saturation`.

    Everything is of the weights that are validated, in eval mode, from random streams of its own: training is the same
    bit for bit without it. It is a ``Checkpoint``, because those are called after the learner's own end of epoch, when
    its values are known and its clock has stopped.

    >>> import pathlib
    >>> import lightning as L, zoo
    >>> learner = zoo.LikelihoodLearner(zoo.create("vae"))
    >>> data = zoo.ImageDataModule("digits", val_size=200)
    >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    >>> shown = zoo.LatentPictures("figures", data.splits.val)
    >>> trainer = L.Trainer(max_epochs=1, accelerator="cpu", callbacks=[shown], **quiet)
    >>> trainer.fit(learner, data)
    >>> {"samples", "reconstructions", "traversal"} <= {path.stem for path in pathlib.Path("figures").iterdir()}
    True

    Args:
        folder: where the PNG files go.
        split: images and labels that the model is shown: never those of the test.
        console: where warnings go; the standard output if left out.
        classify: images ``(B, C, H, W)`` in [0, 1] to classes ``(B,)`` int64, on the CPU; None where nobody knows.
        settled: steps after which a collapse is one, and no longer a beginning.
    """

    def __init__(
        self,
        folder: str | Path,
        split: Split,
        console: Console | None = None,
        classify: Callable[[Tensor], Tensor] | None = None,
        settled: int = 1000,
    ) -> None:
        self.folder = Path(folder)
        self.console = console or terminal.console()
        self.classify = classify
        self.settled = settled
        self.shown = split.take(evenly(CODED, len(split)))
        self.warned: list[str] = []
        self._drawn = -1  # the step of the latest pictures

    def state_dict(self) -> dict[str, Any]:
        """Which warnings a resumed run need not repeat."""
        return {"warned": self.warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.warned = list(state_dict["warned"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics  # which Lightning keeps from epoch to epoch
        for key in [key for key in metrics if key.startswith(("samples/", "latent/"))]:
            del metrics[key]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch, last = trainer.current_epoch + 1, max(trainer.max_epochs or 1, 1)
        if epoch % math.ceil(last / TIMES) == 0 or epoch == last or 0 <= trainer.max_steps <= trainer.global_step:
            pl_module.log_dict(self._draw(trainer, pl_module), rank_zero_only=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of the last epoch of a training that nobody knew it would be, when it was over: nothing more is logged."""
        if self._drawn != trainer.global_step:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, learner: Any) -> dict[str, float]:
        """Draw, and warn; what is to be logged."""
        if not trainer.is_global_zero:
            return {}
        self._drawn = trainer.global_step
        model: Latent = learner.evaluated
        device = next(model.parameters()).device
        forked = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        with forked, evaluating(model):
            codes = encoded(model, self.shown)
            drawn = pictures(model, codes)
            values, complaints = self._samples(model)
        if codes is not None:
            values["latent/active_units"] = active = active_units(codes.q.loc)
            if trainer.current_epoch >= getattr(model, "warmup", 0):  # until then the pressure is not that of the end
                collapsed = posterior_collapse(active, model.latent_dim, float(codes.kl.sum()))
                # samples that are all alike are then but a sign of it
                complaints = {"posterior collapse": collapsed} if collapsed else complaints
        logged = trainer.callback_metrics
        if {"train/d_real", "train/d_fake"} <= set(logged):
            scores = float(logged["train/d_real"]), float(logged["train/d_fake"])
            complaints["discriminator saturated"] = saturation(*scores)
        files = {name: png(picture) for name, picture in drawn.items()}
        write_files(self.folder, files)
        writer: Any = trainer.logger.experiment if isinstance(trainer.logger, TensorBoardLogger) else None
        if writer is not None:
            shown = [Summary.Value(tag=f"model/{name}", image=_encoded(drawn[name], files[name])) for name in drawn]
            # add_image would compress them a second time
            writer.file_writer.add_summary(Summary(value=shown), trainer.global_step)
            if codes is not None:
                writer.add_histogram("latent/kl", codes.kl.float().cpu().numpy(), trainer.global_step)
        if trainer.global_step >= self.settled:
            self._warn(complaints, writer, trainer.global_step)
        return values

    def _samples(self, model: Latent) -> tuple[dict[str, float], dict[str, str | None]]:
        """What is logged and what is wrong of samples, as many of each class where there are classes."""
        count = max(SIDE * SIDE, at_once(SAMPLED, math.prod(model.spec.shape)))
        labels = None if model.log_prior is None else torch.arange(count) % model.groups
        samples = model.sample(count, labels, capability.seeded(model, SEED)).float().cpu()
        compared = self.shown.take(slice(COMPARED))
        x, classes = compared.x(), compared.labels
        if model.spec.missing:
            x = model.fill(x.to(model.device), ~x.to(model.device).isnan()).cpu()
        if labels is None:
            labels, classes = torch.zeros(count), torch.zeros(len(x))
        diversity = spread(samples[:COMPARED], labels[:COMPARED]) / max(spread(x, classes), 1e-12)
        values: dict[str, float] = {} if math.isnan(diversity) else {"samples/diversity": diversity}
        covered = None
        real = class_shares(self.shown.labels, model.spec.num_classes)
        if self.classify is not None:
            covered = modes_covered(class_shares(self.classify(samples), len(real)), real)
            values["samples/modes_covered"] = covered
        return values, {"mode collapse": mode_collapse(diversity, covered, int((real > 0).sum()))}

    def _warn(self, complaints: dict[str, str | None], writer: Any, step: int) -> None:
        for name, text in complaints.items():
            if text is not None and name not in self.warned:
                self.warned.append(name)
                self.console.print(f"warning: {name}: {text}", soft_wrap=True, highlight=False)
                if writer is not None:
                    writer.add_text("warnings", f"{name}: {text}", step)


# What is looked at


@dataclass(frozen=True)
class Codes:
    """Images ``(N, C, H, W)`` in [0, 1], their classes ``(N,)``, and their posteriors ``q``, ``(N, D)``."""

    x: Tensor
    labels: Tensor
    q: Normal

    @property
    def kl(self) -> Tensor:
        """KL divergence of each dimension from a standard normal, averaged over images, ``(D,)``, in nats."""
        standard = Normal(torch.zeros_like(self.q.loc), torch.ones_like(self.q.scale))
        return kl_divergence(self.q, standard).mean(0)


def encoded(model: Latent, split: Split) -> Codes | None:
    """The posteriors of the images of a split; None where the model has no encoder. Called in eval mode."""
    if not hasattr(model, "posterior"):
        return None
    like = next(model.parameters())
    x, labels = split.to(like.device).x(like.dtype), split.labels.to(like.device)
    if model.spec.missing:
        x = model.fill(x, ~x.isnan())
    size = at_once(len(x), x[0].numel())
    parts = [
        model.posterior(model.observe(part), of) for part, of in zip(x.split(size), labels.split(size), strict=True)
    ]
    location, scale = (torch.cat([getattr(q, name) for q in parts]) for name in ("loc", "scale"))
    return Codes(x, labels, Normal(location, scale, validate_args=False))


def pictures(model: Latent, codes: Codes | None) -> dict[str, Tensor]:
    """What there is to see of a latent space, by name; see :mod:`zoo.inspect.grids`. The same pictures at each call.

    ``samples``, a row a class with the same latent down each column where there are classes; ``interpolations`` between
    random images; ``traversal``: a row for each of the dimensions with the largest KL divergence, or the first ones,
    which runs from −2.5 to 2.5 while the others stay at the mean code of a class, of one after the other; or, where
    latents have a way to samples, ``way``: a row a sample, from noise on the left to what becomes of it. Of a model
    with an encoder also ``reconstructions``: rows of images, each above its reconstructions; ``image_interpolations``
    between two images, of one class where there are classes; ``latent_map``: two principal directions of the codes,
    coloured by class. Rows of tables and texts have the map alone. Called in eval mode.
    """
    drawn = {} if codes is None else {"latent_map": _latent_map(model, codes)}
    if model.spec.kind not in ("image", "sound"):
        return drawn
    drawn |= {"samples": _samples(model), "interpolations": _interpolations(model)}
    if hasattr(model, "way"):
        drawn["way"] = _way(model)
    else:
        drawn["traversal"] = _traversal(model, codes)
    if codes is not None:
        drawn["reconstructions"] = _reconstructions(model, codes)
        drawn["image_interpolations"] = _image_interpolations(model, codes)
    return drawn


def _samples(model: Latent) -> Tensor:
    if model.log_prior is None:
        return _shown(
            model, model.generate(model.noise(SIDE * SIDE, capability.seeded(model, SEED))).unflatten(0, (SIDE, SIDE))
        )
    names = model.spec.class_names[:CLASSES]
    noise = model.noise(SIDE, capability.seeded(model, SEED)).repeat(len(names), 1)
    labels = torch.arange(len(names), device=noise.device).repeat_interleave(SIDE)
    return _shown(model, model.generate(noise, labels).unflatten(0, (len(names), SIDE)), names)


def _interpolations(model: Latent) -> Tensor:
    classes = None if model.log_prior is None else torch.arange(SIDE) % model.groups
    return _shown(model, model.interpolate(SIDE, SIDE, labels=classes, generator=capability.seeded(model, SEED)))


def _traversal(model: Latent, codes: Codes | None) -> Tensor:
    if codes is None:
        center, labels = model.prior(model.noise(1, capability.seeded(model, SEED))), None
        dimensions = [*range(min(SIDE, model.latent_dim))]
        names = [f"z{number}" for number in dimensions]
    else:
        kl = codes.kl
        dimensions = kl.argsort(descending=True, stable=True)[:SIDE].tolist()
        present = codes.labels.unique()
        labels = present[torch.arange(len(dimensions), device=present.device) % len(present)]
        center = torch.stack([codes.q.loc[codes.labels == label].mean(0) for label in labels])
        classes = [model.spec.class_names[label] for label in labels.tolist()]
        told = [f"z{number}: {float(kl[number]):.2f} nats" for number in dimensions]
        names = [f"{name}, {line}" if len(present) > 1 else line for name, line in zip(classes, told, strict=True)]
    z = center[:, None].expand(len(names), STEPS, -1).clone()
    for row, number in enumerate(dimensions):
        z[row, :, number] = torch.linspace(-REACH, REACH, STEPS)
    if labels is None:
        labels = torch.zeros(len(names), dtype=torch.long, device=z.device)
    images = model.decode_all(z.flatten(0, 1), labels.repeat_interleave(STEPS))
    return _shown(model, images.unflatten(0, (len(names), STEPS)), names)


def _way(model: Latent) -> Tensor:
    names = () if model.log_prior is None else model.spec.class_names[:SIDE]
    labels = None if model.log_prior is None else torch.arange(len(names), device=model.device)
    way = model.way(model.noise(len(names) or SIDE, capability.seeded(model, SEED)), labels, STEPS)
    return _shown(model, way.transpose(0, 1), names)


def _reconstructions(model: Latent, codes: Codes) -> Tensor:
    index = evenly(SIDE * SIDE // 2, len(codes.x))
    index = index[: len(index) // SIDE * SIDE] if len(index) > SIDE else index
    images = torch.stack([codes.x[index], model.decode_all(codes.q.loc[index], codes.labels[index])], 1)
    rows = images.unflatten(0, (-1, min(SIDE, len(index)))).transpose(1, 2).flatten(0, 1)
    return _shown(model, rows, ["image", "reconstruction"] * (len(rows) // 2))


def _image_interpolations(model: Latent, codes: Codes) -> Tensor:
    """Straight paths between the codes of two images, with the images themselves before and behind."""
    pairs = _pairs(codes.labels.cpu(), within=model.log_prior is not None)
    first, last = codes.q.loc[pairs[0]], codes.q.loc[pairs[1]]
    path = torch.lerp(first[:, None], last[:, None], torch.linspace(0, 1, SIDE).to(first)[None, :, None])
    images = model.decode_all(path.flatten(0, 1), codes.labels[pairs[0]].repeat_interleave(SIDE))
    images = images.unflatten(0, (-1, SIDE))
    return _shown(model, torch.cat([codes.x[pairs[0]][:, None], images, codes.x[pairs[1]][:, None]], 1))


def _pairs(labels: Tensor, within: bool) -> tuple[Tensor, Tensor]:
    """Numbers of two images each for :data:`SIDE` rows at most; of the same class where ``within``."""
    if not within:
        index = evenly(2 * SIDE, len(labels))
        half = (len(index) + 1) // 2
        return index[:half], index[-half:]
    ends = [(labels == label).nonzero()[:, 0][[0, -1]] for label in labels.unique()[:SIDE]]
    first, last = torch.stack(ends, 1)
    return first, last


def _shown(model: Latent, images: Tensor, rows: Sequence[str] = ()) -> Tensor:
    """Examples ``(R, K, C, H, W)`` as a picture, see :func:`zoo.inspect.grids.grid`."""
    pictures = kinds.find(model.spec.kind).show(images.flatten(0, 1), model.spec)
    return grid(pictures.unflatten(0, images.shape[:2]), rows)


def _latent_map(model: Latent, codes: Codes) -> Tensor:
    points, share = principal_plane(codes.q.loc)
    title = f"codes of {len(points):,} images: {share:.0%} of their variance"
    return scatter(points, codes.labels, model.spec.class_names, title)


def principal_plane(codes: Tensor) -> tuple[Tensor, float]:
    """Codes ``(N, D)`` in their first two principal directions, ``(N, 2)``, and the share of their variance there.

    With D = 1 the second coordinate is 0. A direction's largest entry is positive, so that a map does not turn over
    from one epoch to the next.
    """
    centred = (codes - codes.mean(0)).double().cpu()
    variances, directions = torch.linalg.eigh(centred.t() @ centred)
    plane = directions[:, -2:].flip(1)
    largest = plane.gather(0, plane.abs().argmax(0, keepdim=True))
    points = centred @ (plane * largest.sign())
    share = float(variances[-2:].sum() / variances.sum().clamp_min(1e-30))
    return torch.nn.functional.pad(points, (0, 2 - points.shape[1])), share


def draw_latents(model: Latent, split: Split, folder: Path) -> None:
    """Write the :func:`pictures` of a model that a split is shown to. Raises ``ZooError`` where that cannot be done."""
    with evaluating(model):
        drawn = pictures(model, encoded(model, split.take(evenly(CODED, len(split)))))
    write_files(folder, {name: png(picture) for name, picture in drawn.items()})


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """As ``<name>.png`` in ``folder``, in place of older ones. Raises ``ZooError`` where that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_bytes(folder / f"{name}.png", content)


def _encoded(picture: Tensor, content: bytes) -> Summary.Image:
    height, width, channels = picture.shape
    return Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=content)


# Whether something has collapsed: None, or what is wrong and what to do


def active_units(means: Tensor) -> int:
    """How many dimensions of the codes ``(N, D)`` vary with the image, by more than :data:`ACTIVE`."""
    return int((means.var(0, correction=0) > ACTIVE).sum())


def spread(images: Tensor, groups: Tensor) -> float:
    """The mean distance of two images ``(N, C, H, W)`` of the same group ``(N,)``; NaN where there are no two."""
    flat = images.flatten(1).float().cpu()
    pairs = (groups[:, None] == groups).fill_diagonal_(False).cpu()
    return float(torch.cdist(flat, flat)[pairs].mean())


def posterior_collapse(active: int, dimensions: int, kl: float) -> str | None:
    """Of ``dimensions`` latents ``active`` are in use, and the KL divergence is ``kl`` nats an image in all."""
    if active >= dimensions / 10 and kl >= 0.1:
        return None
    return (
        f"{active} of {dimensions} latent dimensions are in use, {kl:.2g} nats an image in all: the decoder does "
        "without the latent. Try model.warmup=10, model.free_bits=0.1, or a smaller model.beta or model.latent_dim"
    )


def mode_collapse(diversity: float, covered: int | None, classes: int) -> str | None:
    """``diversity`` is 1 for real images; samples fall into ``covered`` of ``classes``, None where nobody knows."""
    few = covered is not None and covered <= classes / 2
    if not few and not diversity < 0.1:  # NaN: nothing is known
        return None
    words = [f"samples are of {covered} of {classes} classes"] if few else []
    words += [f"samples are {diversity:.0%} as far from one another as real images"] if diversity < 0.1 else []
    return " and ".join(words) + ". Try a smaller learner.optimizer.lr, another seed, or for a GAN a larger model.r1"


def saturation(real: float, fake: float) -> str | None:
    """The discriminator's mean probabilities that real images, and samples, are real."""
    if real <= 0.99 or fake >= 0.01:
        return None
    return (
        f"it calls real images real with {real:.2%} and samples with {fake:.2%}: the generator learns little from it. "
        "Try a larger model.r1, model.spectral_norm=true or a smaller learner.lr_ratio"
    )
