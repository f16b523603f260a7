"""The claim that a VAE blurs and a GAN drops modes: what is measured, and how it is judged."""

import base64
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.data.splits import Split, Splits, load_splits
from zoo.metrics.modes import class_divergence
from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import blur_and_modes as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")

VAE = {"detail": 0.6, "recall": 0.8, "class_kl": 0.02, "precision": 0.7, "coverage": 0.6, "modes": 10}
GAN = {"detail": 1.1, "recall": 0.6, "class_kl": 0.2, "precision": 0.8, "coverage": 0.5, "modes": 9}
REAL = {"detail": 1.0, "recall": 0.89, "class_kl": 0.0, "precision": 0.86, "coverage": 0.95, "modes": 10}
SHORT = 0.1  # what a short training lacks


def rows(vae: dict, gan: dict, suite: str = "textbook") -> list[dict]:
    """Made-up measurements, a little more with each seed, and black pictures."""
    black = claim.picture(torch.zeros(claim.ROWS * claim.COLUMNS, 1, 28, 28))
    found = []
    for case in claim.cases(suite):
        values = case.parameters
        model, data = values["model"], values["data"]
        made = {
            key: value + 0.01 * values["seed"] for key, value in {"vae": vae, "dcgan": gan}.get(model, REAL).items()
        }
        if values["drawn"]:
            made["detail"] += 0.5
        if model != claim.REAL and values["epochs"] < max(claim.EPOCHS[data][model]):
            made["recall"] -= SHORT
        spectra = {"at": [0.0, 0.25, 0.5], "spectrum": [4.0, 2.0, made["detail"]], "real_spectrum": [4.0, 2.0, 1.0]}
        shares = [0.1] * 8 + ([0.08, 0.12] if model == "dcgan" else [0.1, 0.1])
        found.append({**values, **made, **spectra, "samples": black, "images": 10_000, "shares": shares,
                      "real_shares": [0.1] * 10})  # fmt: skip
    return found


def test_cases():
    for suite, most, seeds in (("quick", 45, 8), ("textbook", 1_000, 3)):
        cases = claim.cases(suite)
        assert sum(case.seconds for case in cases) <= most
        assert all(0.3 <= case.seconds <= 180 for case in cases)
        longest = {"vae": 0, "dcgan": 0, claim.REAL: 0}
        for case in cases:
            longest[case.parameters["model"]] = max(longest[case.parameters["model"]], case.parameters["epochs"])
        for model in ("vae", "dcgan"):
            judged = [case.parameters["seed"] for case in cases if case.parameters["model"] == model
                      and case.parameters["epochs"] == longest[model] and not case.parameters["drawn"]]  # fmt: skip
            assert judged == [*range(seeds)]
        assert len({str(case.parameters) for case in cases}) == len(cases)


def test_supported_where_the_textbook_is_right():
    found = {finding.key: finding for finding in claim.findings(rows(VAE, GAN))}
    assert found["blur"].estimate == pytest.approx(0.61)
    assert found["drawn"].estimate == pytest.approx(1.1)
    assert found["recall"].estimate == pytest.approx(-0.2)
    assert found["recall"].error == pytest.approx((0.81 * 0.19 / 1e4 + 0.61 * 0.39 / 1e4) ** 0.5)
    assert found["class-shares"].estimate == pytest.approx(0.18)
    assert found["class-shares"].error == pytest.approx((2 * 0.02**2 / 0.1 / 1e4) ** 0.5)
    assert found["sharp"].values == pytest.approx([0.1 - 0.4, 0.11 - 0.39, 0.12 - 0.38])
    assert found["real-detail"].estimate == pytest.approx(1.01)
    assert found["real-precision"].estimate == pytest.approx(0.87)
    assert found["longer-vae"].estimate == found["longer-dcgan"].estimate == pytest.approx(SHORT)
    assert verdict([*found.values()]) == SUPPORTED
    # a single budget has nothing to be compared with
    quick = {finding.key for finding in claim.findings(rows(VAE, GAN, "quick"))}
    assert {*found} - quick == {"longer-vae", "longer-dcgan"}


@pytest.mark.parametrize(
    ("vae", "gan", "key"),
    [
        ({"detail": 1.1}, {"detail": 1.0}, "blur"),
        ({}, {"detail": 3.0}, "sharp"),  # too much detail is no better than too little
        ({}, {"recall": 0.9}, "recall"),
        ({"class_kl": 0.3}, {}, "class-shares"),
    ],
)
def test_not_supported_where_it_is_wrong(vae, gan, key):
    found = claim.findings(rows(VAE | vae, GAN | gan))
    assert [finding.key for finding in found if finding.verdict == NOT_SUPPORTED] == [key]


def test_figures():
    figures = claim.figures(rows(VAE, GAN))
    assert set(figures) == {"spectra", "variety", "samples"}
    real, *curves = figures["spectra"].axes[0].get_lines()
    assert list(real.get_ydata()) == [1, 1]
    by_name = {line.get_label(): list(line.get_ydata()) for line in curves}
    assert by_name["VAE, means, 24 epochs"] == pytest.approx([1, 1, 0.61])
    assert by_name["VAE, pixels drawn, 24 epochs"] == pytest.approx([1, 1, 1.1])
    assert by_name["DCGAN, 4 epochs"] == pytest.approx([1, 1, 1.11])
    assert len(by_name) == 5
    assert [len(line.get_xdata()) for line in figures["variety"].axes[0].get_lines()] == [3, 1, 3, 1, 1, 3]
    shown = ["VAE, means, 24 epochs", "VAE, pixels drawn, 24 epochs", "DCGAN, 4 epochs", "real images"]
    assert [axes.get_title(loc="left") for axes in figures["samples"].axes] == shown


def test_shown():
    """Each picture's images from left to right, and from top to bottom, in a square of its own."""
    count = claim.ROWS * claim.COLUMNS
    images = (torch.arange(count) / 255).view(count, 1, 1, 1).expand(count, 1, 2, 3)
    labels = ["a", "b", "c", "d"]
    pictures = {label: claim.picture(images + place / 17) for place, label in enumerate(labels)}
    figure = claim.shown(pictures, "title")
    assert [axes.get_title(loc="left") for axes in figure.axes] == labels
    for place, axes in enumerate(figure.axes):
        (drawn,) = axes.get_images()
        assert drawn.get_array().shape == (4 * claim.SIDE, 5 * claim.SIDE)
        assert drawn.get_array()[1::4, 1::5].flatten().tolist() == [15 * place + number for number in range(count)]


def test_picture():
    """From left to right, and from top to bottom."""
    count = claim.ROWS * claim.COLUMNS
    images = (torch.arange(count) / 255).view(count, 1, 1, 1).expand(count, 1, 2, 3)
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(claim.picture(images)))))
    assert pixels.shape == (2 * claim.ROWS, 3 * claim.COLUMNS)
    assert pixels[::2, ::3].flatten().tolist() == [*range(count)]


def test_real_images_of_different_seeds_have_none_in_common():
    """Nor with those that tell the floor; where there are no more, that is said."""
    splits = load_splits("digits", val_size=200)
    n = len(splits.test)
    floor = splits.train.shuffled(n, torch.Generator().manual_seed(claim.FLOOR_SEED)).x()
    sets = [floor, *(claim.real_images(splits, seed) for seed in range(claim.REAL_SEEDS["digits"]))]
    assert [len(images) for images in sets] == [n] * len(sets)
    stored = [image.numpy().tobytes() for image in splits.train.x()]
    found = [stored.index(image.numpy().tobytes()) for images in sets for image in images]
    assert len({*found}) >= len(found) - (len(stored) - len({*stored}))
    with pytest.raises(zoo.DataError, match="too few for 4 sets of 359"):
        claim.real_images(splits, claim.REAL_SEEDS["digits"])


def test_the_error_of_class_shares_is_that_of_other_test_images():
    """Against what divergences from the shares of test images that are drawn anew vary by."""
    real = torch.tensor([0.5, 0.3, 0.2]).double()
    shares = [[0.4, 0.4, 0.2], [0.5, 0.25, 0.25]]
    first, second = ([{"shares": each, "real_shares": real.tolist(), "images": 2_000}] for each in shares)
    drawn = torch.distributions.Multinomial(2_000, real)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    p, q = (torch.tensor(each).double() for each in shares)
    apart = [class_divergence(p, r) - class_divergence(q, r) for r in drawn.sample((4_000,)) / 2_000]
    torch.set_rng_state(state)
    assert claim.shares_error(first, second) == pytest.approx(float(torch.tensor(apart).std()), rel=0.05)


def test_drawn_pixels():
    """Black and white, their mean the grey value, and the same ones each time."""
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 28, 28)
    empty = Split(images[:0], torch.zeros(0, dtype=torch.long))
    split = Split(images, torch.zeros(3, dtype=torch.long))
    found = claim.drawn(Splits(split, empty, split, zoo.DataSpec(), ""))
    assert found.train.images.unique().tolist() == [0, 255]
    assert found.train.images.dtype == torch.uint8
    assert (found.train.images.double() / 255).mean((1, 2, 3)).tolist() == pytest.approx([0, 0.2, 1], abs=0.05)
    assert torch.equal(found.train.images, found.test.images)


class Camera(zoo.Model):
    """Hands out test images, blurred."""

    log_prior = None
    config = {"name": "camera"}  # noqa: RUF012

    def __init__(self, splits: Splits, blur: int) -> None:
        super().__init__()
        self.spec, self.splits, self.blur = splits.spec, splits, blur

    def sample(self, n, labels=None, generator=None):
        images = self.splits.test.images[torch.arange(n) % len(self.splits.test)].float() / 255
        return torch.nn.functional.avg_pool2d(images, self.blur, 1, self.blur // 2)


def test_measured(tmp_path, monkeypatch):
    """Blurred test images have less detail than they, the test images themselves as much; training images about so."""
    lab = Lab(tmp_path)
    splits = lab.splits("digits", val_size=200)
    monkeypatch.setattr(claim, "SAMPLES", len(splits.test))
    case = {"data": "digits", "model": "vae", "epochs": 12, "drawn": False, "seed": 0}
    asked = []
    monkeypatch.setattr(Lab, "train", lambda self, *words: asked.append(words) or Camera(splits, 1))
    exact = claim.measure(case, lab)
    assert asked == [("model=vae", "data=digits", "seed=0", "trainer.max_epochs=12", "data.batch_size=32")]
    assert exact["detail"] == pytest.approx(1, rel=1e-4)
    assert exact["recall"] == exact["precision"] == 1
    assert exact["spectrum"] == pytest.approx(exact["real_spectrum"], rel=1e-4)
    assert exact["images"] == len(splits.test)
    # drawn pixels are compared with drawn pixels
    drawn = claim.measure({**case, "drawn": True}, lab)
    assert drawn["detail"] == pytest.approx(1, abs=0.05)
    assert sum(drawn["real_spectrum"][5:]) > 1.5 * sum(exact["real_spectrum"][5:])
    monkeypatch.setattr(Lab, "train", lambda self, *words: Camera(splits, 5))
    blurred = claim.measure(case, lab)
    assert blurred["detail"] < 0.6
    assert blurred["recall"] < 0.9
    assert all(math.isfinite(value) for value in blurred["spectrum"])
    assert not {*case} & {*blurred}
    assert blurred["class_kl"] == pytest.approx(class_divergence(
        *(torch.tensor(blurred[key]) for key in ("shares", "real_shares"))), rel=1e-6)  # fmt: skip
    real = claim.measure({**case, "model": claim.REAL, "epochs": 0}, lab)
    assert real["detail"] == pytest.approx(1, abs=0.1)
    assert 0.6 < real["recall"] < 1


def test_recipes_name_models_of_the_zoo():
    for models in claim.MODELS.values():
        assert set(models) <= set(zoo.list_models())
