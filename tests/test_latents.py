"""What a model with a latent space shows during training, when it warns, and the paths through that space."""

import csv
import io
import math
import re
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from conftest import run_train
from lightning.pytorch.callbacks import Checkpoint
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import zoo
from zoo.base.generative import Latent, slerp
from zoo.base.model import evaluating
from zoo.data.splits import Split, load_splits
from zoo.errors import ZooError
from zoo.inspect import grids, latents
from zoo.inspect.latents import LatentPictures
from zoo.run.board import tag_of
from zoo.tasks.reference import extractor

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = ("model=vae", "model.latent_dim=6", "model.hidden_sizes=[32]", "data=digits", "experiment=debug")
PICTURES = {"samples", "interpolations", "traversal", "reconstructions", "image_interpolations", "latent_map"}


class Painter(Latent):
    """A latent model without an encoder: brightness and slope of a ramp."""

    def __init__(self, classes: int = 0) -> None:
        super().__init__(zoo.DataSpec((1, 8, 8), max(classes, 3)), classes > 0)
        self.latent_dim = 2
        self.scale = nn.Parameter(torch.ones(()))

    def decode(self, z, labels=None):
        assert (labels is not None) == (self.log_prior is not None)
        shift = 0 if labels is None else labels[:, None, None, None]
        ramp = torch.linspace(-1, 1, 8).expand(1, 1, 8, 8)
        return (self.scale * z[:, :1, None, None] + z[:, 1:, None, None] * ramp + shift).sigmoid()


def vae(conditional: bool = False, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    return zoo.create(
        "vae", zoo.DataSpec((1, 8, 8), 3), latent_dim=4, hidden_sizes=[16], conditional=conditional, **options
    )


def images(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


# What a run leaves


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    return run_train(runs, *TINY, "model.conditional=true", "learner.ema=0.9", "trainer.max_epochs=3")


@pytest.fixture(scope="module")
def shown(run) -> EventAccumulator:
    return EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 0, "histograms": 0, "tensors": 0}).Reload()


def test_pictures_of_each_epoch(run, shown):
    names = {*PICTURES, "confusion", "reliability"}
    assert {path.name for path in (run / "figures").iterdir()} == {f"{name}.png" for name in names}
    models = {tag for tag in shown.Tags()["images"] if tag.startswith("model/")}
    assert models == {f"model/{name}" for name in PICTURES}  # and none under another name
    for name in PICTURES:
        drawn = shown.Images(f"model/{name}")
        assert [event.step for event in drawn] == [5, 10, 15], name
        assert len({event.encoded_image_string for event in drawn}) == 3, name  # the model has changed
        with Image.open(run / "figures" / f"{name}.png") as picture:
            assert (picture.width, picture.height) == (drawn[-1].width, drawn[-1].height)
            assert np.array(picture).std() > 10, name


def test_pictures_are_of_the_weights_that_are_validated(run, shown):
    """TensorBoard shows the average of the last epoch, the files that of the checkpoint which is kept."""
    split = load_splits("digits", val_size=200).val
    for path, names in (("last.ckpt", PICTURES), ("best.ckpt", PICTURES)):
        model = zoo.load(run / path)
        looked = split.take(latents.evenly(latents.CODED, len(split)))
        with evaluating(model):
            drawn = latents.pictures(model, latents.encoded(model, looked))
        for name in names:
            content = grids.png(drawn[name])
            if path == "last.ckpt":
                assert shown.Images(f"model/{name}")[-1].encoded_image_string == content, name
            else:
                assert (run / "figures" / f"{name}.png").read_bytes() == content, name


def test_scalars_and_histogram(run, shown):
    """Active units, diversity and modes are in TensorBoard and metrics.csv; the histogram has the latent's length."""
    for name in ("latent/active_units", "samples/diversity", "samples/modes_covered"):
        assert len(shown.Scalars(tag_of(name))) == 3
        assert name in (run / "metrics.csv").read_text().splitlines()[0].split(",")
    histogram = shown.Histograms("latent/kl")[-1]
    model = zoo.load(run / "last.ckpt")
    split = load_splits("digits", val_size=200).val
    with evaluating(model):
        q = model.posterior(model.observe(split.images.float() / 255), split.labels)
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).mean(0)
    assert histogram.step == 15
    assert histogram.histogram_value.num == 6
    assert histogram.histogram_value.sum == pytest.approx(float(kl.sum()), rel=1e-4)
    assert shown.Scalars("val/active_units")[-1].value == int((q.loc.var(0, correction=0) > 0.01).sum())
    labels = torch.arange(latents.SAMPLED) % 10
    samples = zoo.sample(model, latents.SAMPLED, labels, torch.Generator().manual_seed(0))
    classes = extractor("digits")(samples)[1].bincount(minlength=10) / latents.SAMPLED
    real = split.labels.bincount(minlength=10) / len(split)
    assert shown.Scalars("samples/modes_covered")[-1].value == int((classes >= 0.1 * real).sum())


def test_rows_are_classes(run):
    """The same latent down each column of the samples: images of a column differ by the class alone."""
    model = zoo.load(run)
    noise = model.noise(8, torch.Generator().manual_seed(latents.SEED))
    with Image.open(run / "figures" / "samples.png") as picture:
        pixels = torch.from_numpy(np.array(picture))
    left = pixels.shape[1] - 4 - (8 * 58 - 2)
    with torch.no_grad():
        for label in (0, 9):
            row = model.generate(noise, torch.full((8,), label)).mul(255).round().byte()
            for column in (0, 7):
                place = pixels[4 + label * 58 :, left + column * 58 :][:56:2, :56:2]
                assert torch.equal(place, row[column, 0])


def test_without_logger_and_validation(tmp_path):
    """There are the files alone, of training images; and test images are never looked at."""
    run = run_train(tmp_path, *TINY, "logger=none", "data.val_size=0", "trainer.max_epochs=1", figures=True)
    assert {path.stem for path in (run / "figures").iterdir()} == PICTURES
    assert not list(run.glob("events.*"))
    split = load_splits("digits").train
    latents.draw_latents(zoo.load(run), split, tmp_path / "again")
    for name in PICTURES:
        assert (tmp_path / "again" / f"{name}.png").read_bytes() == (run / "figures" / f"{name}.png").read_bytes()


class Ending(Checkpoint):
    """Ends a training after an epoch, when its pictures are due or not."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_end(self, trainer, _) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.epoch


@pytest.mark.parametrize(
    ("limits", "drawn", "logged"),
    [
        ({"max_epochs": 45}, [*range(3, 46, 3)], [*range(3, 46, 3)]),
        ({"max_epochs": 41}, [*range(3, 42, 3), 41], [*range(3, 42, 3), 41]),
        ({"max_epochs": 20}, [*range(1, 21)], [*range(1, 21)]),
        ({"max_epochs": 100, "max_steps": 7}, [5, 7], [5, 7]),
        ({"max_epochs": 100, "callbacks": [Ending(8)]}, [5, 8], [5]),  # which nobody knew when it was logged
    ],
    ids=["45", "41", "20", "steps", "ended"],
)
def test_a_long_training_is_drawn_some_times_and_at_its_end(limits, drawn, logged, tmp_path, monkeypatch):
    data = zoo.ImageDataModule("digits", val_size=0.1, train_size=20, batch_size=50)
    torch.manual_seed(0)
    model = zoo.create("vae", data.spec, latent_dim=2, hidden_sizes=[4])
    learner = zoo.LikelihoodLearner(model)
    shown = LatentPictures(tmp_path / "figures", data.splits.val, Console(quiet=True))
    limits = {**limits, "callbacks": [shown, *limits.get("callbacks", []), zoo.Progress(tmp_path / "metrics.csv")]}
    trainer = L.Trainer(
        logger=False, default_root_dir=tmp_path, accelerator="cpu", enable_progress_bar=False, num_sanity_val_steps=0,
        enable_model_summary=False, **limits,
    )  # fmt: skip
    steps = []
    monkeypatch.setattr(latents, "write_files", lambda *_: steps.append(trainer.global_step))
    monkeypatch.setattr(latents, "pictures", lambda *_: {})
    trainer.fit(learner, data)
    assert steps == drawn
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["samples/diversity"]]
    assert [int(row["step"]) for row in rows] == logged
    assert all(row["latent/active_units"] for row in rows)


def test_training_is_the_same_without(tmp_path, monkeypatch):
    """Weights, average and random stream after three epochs, bit for bit, even if a model draws when it should not."""
    options = (*TINY, "learner.ema=0.9", "logger=none", "trainer.max_epochs=3")
    from zoo.models.vae import VAE

    prior = VAE.prior
    monkeypatch.setattr(VAE, "prior", lambda self, noise: prior(self, noise) + 0 * torch.rand(()))
    seen = run_train(tmp_path / "seen", *options)
    monkeypatch.setattr(LatentPictures, "on_train_epoch_end", lambda *_: None)
    unseen = run_train(tmp_path / "unseen", *options)
    first, second = (torch.load(run / "last.ckpt", weights_only=True) for run in (seen, unseen))
    assert "samples/diversity" in (seen / "metrics.csv").read_text()
    assert "samples/diversity" not in (unseen / "metrics.csv").read_text()
    assert torch.equal(first["rng"]["cpu"], second["rng"]["cpu"])
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key


def test_a_gan_has_no_encoder(tmp_path):
    run = run_train(tmp_path, "model=dcgan", "model.channels=4", *TINY[3:], "trainer.max_epochs=1", figures=True)
    assert {path.stem for path in (run / "figures").iterdir()} == {"samples", "interpolations", "traversal"}
    shown = EventAccumulator(str(run)).Reload()
    assert {"samples/diversity", "samples/modes_covered"} <= set(shown.Tags()["scalars"])
    assert not any("latent/" in tag for tag in shown.Tags()["scalars"] + shown.Tags()["histograms"])


@pytest.mark.parametrize("classes", [0, 3])
def test_pictures_without_an_encoder(classes):
    model = Painter(classes)
    with evaluating(model):
        drawn = latents.pictures(model, latents.encoded(model, Split(images(), torch.arange(6) % 3)))
    assert set(drawn) == {"samples", "interpolations", "traversal"}
    assert all(picture.dtype == torch.uint8 and picture.float().std() > 10 for picture in drawn.values())


@pytest.mark.parametrize(
    ("count", "options"),
    [(1, {}), (2, {"conditional": True}), (3, {}), (11, {"latent_dim": 1}), (40, {"conditional": True})],
    ids=str,
)
def test_pictures_of_few_images_and_dimensions(count, options):
    torch.manual_seed(0)
    model = zoo.create("vae", zoo.DataSpec((3, 5, 4), 3), **{"latent_dim": 9, "hidden_sizes": [4], **options})
    x = (torch.rand(count, 3, 5, 4) * 255).byte()
    with evaluating(model):
        drawn = latents.pictures(model, latents.encoded(model, Split(x, torch.arange(count) % 3)))
    assert set(drawn) == PICTURES
    assert all(picture.shape[2] == 3 for picture in drawn.values())


def test_a_traversal_varies_what_matters_most():
    model = vae().eval()
    with torch.no_grad():  # dimension 2 alone depends on the image
        model.encoder_head[-1].weight[[0, 1, 3]] = 0
        model.encoder_head[-1].bias.zero_()
        model.encoder_head[-1].weight[2] *= 50
        model.encoder_head[-1].weight[4:] = 0
        codes = latents.encoded(model, Split((images() * 255).byte(), torch.arange(6) % 3))
        assert int(codes.kl.argmax()) == 2
        assert torch.allclose(codes.kl[[0, 1, 3]], torch.zeros(3), atol=1e-6)
        wanted = codes.q.loc[:1].repeat(latents.STEPS, 1)
        wanted[:, 2] = torch.linspace(-2.5, 2.5, latents.STEPS)
        row = model.decode(wanted)
        picture = latents._traversal(model, codes)
    tile = 48 + 6  # 8 × 8 images, enlarged six times
    start = picture.shape[1] - 4 - (latents.STEPS * tile - 6)
    strip = picture[4 : 4 + 48 : 6, start:, 0]
    for step in range(latents.STEPS):
        assert torch.equal(strip[:, step * tile :][:, :48:6], row[step, 0].mul(255).round().byte())


# Grids and maps


def test_grid():
    """Rows downwards, columns to the right, pixels as they are; colours stay colours."""
    x = torch.rand(2, 3, 3, 50, 60, generator=torch.Generator().manual_seed(0))
    picture = grids.grid(x)
    assert picture.shape == (4 + 50 + 2 + 50 + 4, 4 + 3 * 60 + 2 * 2 + 4, 3)
    levels = x.mul(255).round().byte()
    for row in range(2):
        for column in range(3):
            place = picture[4 + row * 52 : 54 + row * 52, 4 + column * 62 : 64 + column * 62]
            assert torch.equal(place, levels[row, column].permute(1, 2, 0))
    with Image.open(io.BytesIO(grids.png(picture))) as image:
        assert torch.equal(torch.from_numpy(np.array(image)), picture)
    named = grids.grid(x[:, :, :1], ["T-shirt", "bag"])
    assert named.shape[0] == picture.shape[0]
    assert (named[:, : named.shape[1] - picture.shape[1], 0] < 128).any()  # something is written there
    assert torch.equal(named[:, -picture.shape[1] + 4 :, 0], grids.grid(x[:, :, :1])[:, 4:, 0])


def test_scatter():
    """Points lie where they belong, in the colour of their class, and the legend names the classes that occur."""
    points = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 5.0]])
    picture = grids.scatter(points, torch.tensor([0, 1, 11]), [str(name) for name in range(12)], "title", size=200)
    top = grids.LINE + grids.MARGIN

    def color_at(x: float, y: float) -> tuple[int, ...]:
        return tuple(picture[round(top + 200 - y), round(x)].tolist())

    assert color_at(4, 52) == grids.COLORS[0]  # equal scales: 10 across, 5 up is half of that
    assert color_at(196, 52) == grids.COLORS[1]
    assert color_at(4, 148) == grids.COLORS[1]  # colours begin again
    legend = picture[top:, 200:].flatten(0, 1)
    assert {tuple(pixel) for pixel in legend.tolist()} >= {grids.COLORS[0], grids.COLORS[1]}
    assert grids.COLORS[2] not in {tuple(pixel) for pixel in picture.flatten(0, 1).tolist()}


def test_principal_plane():
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([0.1, 3.0, 0.5, 2.0])
    codes = torch.randn(500, 4, generator=generator) * scales + 7
    points, share = latents.principal_plane(codes)
    variances = torch.linalg.svdvals((codes - codes.mean(0)).double()).square()
    assert share == pytest.approx(float(variances[:2].sum() / variances.sum()), rel=1e-6)
    for axis, dimension in ((0, 1), (1, 3)):
        correlation = torch.corrcoef(torch.stack([points[:, axis], codes[:, dimension].double()]))[0, 1]
        assert correlation > 0.98  # of the same sign, too
    line, share = latents.principal_plane(codes[:, :1])
    assert share == pytest.approx(1)
    assert (line[:, 1] == 0).all()


# When something collapses


def test_active_units():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(4000, 3, generator=generator) * torch.tensor([0.12, 0.08, 1.0])  # variances 0.0144, 0.0064, 1
    assert latents.active_units(codes + 5) == 2


def test_spread():
    """Of pairs of the same group alone, and of no image with itself."""
    corners = torch.tensor([[0.0, 0.0], [3.0, 4.0], [100.0, 0.0], [100.0, 12.0]]).view(4, 1, 1, 2)
    assert latents.spread(corners, torch.tensor([0, 0, 1, 1])) == pytest.approx((5 + 12) / 2)
    assert latents.spread(corners[:3], torch.tensor([0, 0, 1])) == pytest.approx(5)
    assert latents.spread(corners[:2], torch.zeros(2)) == pytest.approx(5)
    assert math.isnan(latents.spread(corners[:1], torch.zeros(1)))


def test_what_counts_as_collapse():
    assert latents.posterior_collapse(5, 50, 3.0) is None
    assert "4 of 50" in latents.posterior_collapse(4, 50, 3.0)
    assert "model.warmup" in latents.posterior_collapse(50, 50, 0.09)
    assert latents.mode_collapse(0.5, 6, 10) is None
    assert latents.mode_collapse(0.5, None, 10) is None
    assert latents.mode_collapse(math.nan, None, 10) is None
    assert "5 of 10 classes" in latents.mode_collapse(0.5, 5, 10)
    assert "5%" in latents.mode_collapse(0.05, 10, 10)
    assert "5%" in latents.mode_collapse(0.05, None, 10)
    assert latents.saturation(0.999, 0.02) is None
    assert latents.saturation(0.98, 0.001) is None
    assert "99.50%" in latents.saturation(0.995, 0.001)


class Judged(zoo.LikelihoodLearner):
    """A learner that logs what a discriminator would say."""

    scores = (0.6, 0.4)

    def on_train_epoch_end(self):
        super().on_train_epoch_end()
        self.log_dict({"train/d_real": self.scores[0], "train/d_fake": self.scores[1]})


def warned(tmp_path: Path, scores=(0.6, 0.4), settled=0, epochs=3, callback=None, scale=1.0, **options) -> list[str]:
    """The names of the warnings that a few epochs of a small VAE print."""
    torch.manual_seed(0)
    data = zoo.ImageDataModule("digits", val_size=0.1, train_size=100, batch_size=50)
    model = zoo.create("vae", data.spec, latent_dim=4, hidden_sizes=[32], **options)
    with torch.no_grad():
        model.decoder_head[0].weight *= scale
    learner = Judged(model, optimizer={"name": "AdamW", "lr": 1e-2}, schedule={"name": "none"})
    learner.scores = scores
    text = io.StringIO()
    console = Console(file=text, width=60)
    callback = callback or LatentPictures(tmp_path / "figures", data.splits.val, console, settled=settled)
    callback.console = console
    L.Trainer(
        max_epochs=epochs, logger=False, default_root_dir=tmp_path, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[callback], num_sanity_val_steps=0, log_every_n_steps=1,
    ).fit(learner, data)  # fmt: skip
    assert all(line.startswith("warning: ") for line in text.getvalue().splitlines())
    return re.findall("^warning: ([a-z ]+):", text.getvalue(), re.MULTILINE)


def test_warnings_come_once(tmp_path):
    """A strong penalty on the code: nothing of an image gets through. A resumed run does not say it again."""
    split = load_splits("digits").train
    first, second = (LatentPictures(tmp_path / "figures", split, Console(), settled=14) for _ in range(2))
    collapse = {"beta": 1000.0, "epochs": 8}  # of two steps
    assert warned(tmp_path, callback=first, **collapse) == ["posterior collapse"]
    second.load_state_dict(first.state_dict())
    assert warned(tmp_path, callback=second, **collapse) == []
    # until then the penalty is not that of the end
    assert "posterior collapse" not in warned(tmp_path, settled=14, warmup=8.0, **collapse)
    assert warned(tmp_path, settled=17, **collapse) == []  # sixteen steps are but a beginning
    # of many epochs a few are looked at, the last one in any case
    assert warned(tmp_path, settled=46, beta=1000.0, epochs=23) == ["posterior collapse"]


def test_no_warning_without_a_reason(tmp_path):
    assert warned(tmp_path, beta=0.01, epochs=5) == []


def test_samples_that_are_all_alike(tmp_path):
    """A decoder that has not begun to listen to its latent, and none of whose images are of seven of ten classes."""
    assert warned(tmp_path, beta=0.01, epochs=1, scale=1e-3) == ["mode collapse"]
    few = LatentPictures(tmp_path / "figures", load_splits("digits").train, Console(), lambda x: torch.arange(256) % 3)
    few.settled = 0
    assert warned(tmp_path, beta=0.01, epochs=1, callback=few) == ["mode collapse"]


def test_a_saturated_discriminator(tmp_path):
    settings = {"beta": 0.01, "epochs": 2, "settled": 3}
    assert "discriminator saturated" in warned(tmp_path, (0.999, 0.001), **settings)
    assert "discriminator saturated" not in warned(tmp_path, (0.999, 0.1), **settings)


# Paths


def test_paths_between_random_images():
    model = Painter().train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    paths = zoo.interpolate(model, 3, steps=5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert paths.shape == (3, 5, 1, 8, 8)
    assert not paths.requires_grad
    generator = torch.Generator().manual_seed(7)
    first, last = model.noise(3, generator), model.noise(3, generator)
    with torch.no_grad():
        torch.testing.assert_close(paths[:, 0], model.generate(first))
        torch.testing.assert_close(paths[:, -1], model.generate(last))
        middle = model.generate(slerp(first, last, 5)[:, 2])
    torch.testing.assert_close(paths[:, 2], middle)
    assert zoo.interpolate(model).shape == (8, 8, 1, 8, 8)
    assert not torch.equal(zoo.interpolate(model, 2), zoo.interpolate(model, 2))


def test_great_arcs_keep_their_length():
    generator = torch.Generator().manual_seed(0)
    first, last = torch.nn.functional.normalize(torch.randn(2, 6, 20, generator=generator), dim=2)
    path = slerp(first, last, 9)
    torch.testing.assert_close(path.norm(dim=2), torch.ones(6, 9))
    steps = (path[:, 1:] - path[:, :-1]).norm(dim=2)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps))
    opposite = slerp(first, first, 3)
    torch.testing.assert_close(opposite, first[:, None].expand(-1, 3, -1))


def test_a_path_keeps_its_class():
    model = Painter(classes=3)
    paths = zoo.interpolate(model, 2, 4, labels=torch.tensor([0, 2]), generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    first = model.noise(2, generator)
    with torch.no_grad():
        torch.testing.assert_close(paths[:, 0], model.generate(first, torch.tensor([0, 2])))
    drawn = zoo.interpolate(model, 50, 2, generator=torch.Generator().manual_seed(0)).logit().mean((2, 3, 4))
    assert drawn.shape == (50, 2)


def test_paths_between_images():
    """Ends are reconstructions, and the way between their codes is straight."""
    model, x = vae(), images()
    model.train()
    paths = zoo.interpolate(model, ends=(x[:3], x[3:]), steps=5)
    assert model.training
    assert paths.shape == (3, 5, 1, 8, 8)
    torch.testing.assert_close(paths[:, 0], zoo.reconstruct(model, x[:3]))
    torch.testing.assert_close(paths[:, -1], zoo.reconstruct(model, x[3:]))
    first, last = zoo.encode(model, x).split(3)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(paths[:, 1], model.decode(0.75 * first + 0.25 * last))


def test_paths_between_images_of_a_class():
    model, x, labels = vae(conditional=True).eval(), images(), torch.tensor([2, 0, 1])
    paths = zoo.interpolate(model, ends=(x[:3], x[3:]), labels=labels, steps=3)
    with torch.no_grad():
        for place, end in ((0, x[:3]), (-1, x[3:])):
            code = model.posterior(model.observe(end), labels).loc
            torch.testing.assert_close(paths[:, place], model.decode(code, labels))
    with pytest.raises(ZooError, match="give labels"):
        zoo.interpolate(model, ends=(x[:3], x[3:]))


def test_what_paths_refuse():
    x = images()
    with pytest.raises(ZooError, match=r"cannot interpolate; models that can: .*vae"):
        zoo.interpolate(zoo.create("naive_bayes"))
    with pytest.raises(ZooError, match=r"steps.* at least 2, not 1"):
        zoo.interpolate(vae(), steps=1)
    with pytest.raises(ZooError, match="ends must be two tensors"):
        zoo.interpolate(vae(), ends=(x[:2], x[:3]))
    with pytest.raises(ZooError, match=r"the images are .*, the model was made for"):
        zoo.interpolate(vae(), ends=(x[:2, :, :7], x[2:4, :, :7]))
    with pytest.raises(ZooError, match="ends must be two tensors"):
        zoo.interpolate(vae(), 4, ends=(x[:3], x[3:]))
    with pytest.raises(ZooError, match="no codes"):
        zoo.interpolate(Painter(), ends=(x[:3], x[3:]))
    with pytest.raises(ZooError, match="takes no labels"):
        zoo.interpolate(vae(), 2, labels=torch.tensor([0, 1]))
    assert math.isfinite(float(zoo.interpolate(vae(), 1, 2).sum()))
