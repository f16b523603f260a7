"""The claim that a VAE blurs and a GAN drops modes: what is measured, and how it is judged."""

import base64
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import blur_and_modes as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")

VAE = {"detail": 0.6, "recall": 0.8, "class_kl": 0.02, "precision": 0.7, "coverage": 0.6, "modes": 10}
GAN = {"detail": 1.1, "recall": 0.6, "class_kl": 0.2, "precision": 0.8, "coverage": 0.5, "modes": 9}


def rows(vae: dict, gan: dict, suite: str = "textbook") -> list[dict]:
    """Made-up measurements, a little more with each seed, and black pictures."""
    black = claim.picture(torch.zeros(claim.SIDE**2, 1, 28, 28))
    found = []
    for case in claim.cases(suite):
        values = case.parameters
        made = {key: value + 0.01 * values["seed"] for key, value in (vae if values["model"] == "vae" else gan).items()}
        spectra = {"at": [0.0, 0.25, 0.5], "spectrum": [4.0, 2.0, made["detail"]], "real_spectrum": [4.0, 2.0, 1.0]}
        found.append({**values, **made, **spectra, "samples": black, "real": black})
    return found


def test_cases():
    for suite, most in (("quick", 15), ("textbook", 480)):
        assert sum(case.seconds for case in claim.cases(suite)) <= most
        assert all(1 <= case.seconds <= 120 for case in claim.cases(suite))


def test_supported_where_the_textbook_is_right():
    found = {finding.key: finding for finding in claim.findings(rows(VAE, GAN))}
    assert found["blur"].estimate == pytest.approx(0.61)
    assert found["recall"].estimate == pytest.approx(-0.2)
    assert found["class-shares"].estimate == pytest.approx(0.18)
    assert found["sharp"].values == pytest.approx([0.1 - 0.4, 0.11 - 0.39, 0.12 - 0.38])
    assert verdict([*found.values()]) == SUPPORTED


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
    real, vae, gan = figures["spectra"].axes[0].get_lines()
    assert list(real.get_ydata()) == [1, 1]
    assert list(vae.get_ydata()) == pytest.approx([1, 1, 0.61])
    assert list(gan.get_ydata()) == pytest.approx([1, 1, 1.11])
    assert [len(line.get_xdata()) for line in figures["variety"].axes[0].get_lines()] == [3, 3]
    (image,) = figures["samples"].axes[0].get_images()
    assert image.get_array().shape[0] == 28 * claim.SIDE


def test_picture():
    """Rows of a square, from left to right and from top to bottom."""
    images = (torch.arange(4) * 51 / 255).view(4, 1, 1, 1).expand(4, 1, 2, 3)
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(claim.picture(images)))))
    assert pixels[::2, ::3].tolist() == [[0, 51], [102, 153]]
    assert pixels.shape == (4, 6)


def test_measured(tmp_path, monkeypatch):
    """A model that hands out blurred test images has less detail than they; one that copies them has as much."""
    lab = Lab(tmp_path)
    splits = lab.splits("digits")

    class Camera(zoo.Model):
        spec, log_prior = splits.spec, None
        config = {"name": "camera"}  # noqa: RUF012

        def __init__(self, blur: int) -> None:
            super().__init__()
            self.blur = blur

        def sample(self, n, labels=None, generator=None):
            images = splits.test.images[torch.arange(n) % len(splits.test)].float() / 255
            return torch.nn.functional.avg_pool2d(images, self.blur, 1, self.blur // 2)

    case = {"data": "digits", "model": "vae", "n": len(splits.test), "seed": 0}
    monkeypatch.setattr(Lab, "train", lambda self, *words: Camera(1))
    exact = claim.measure(case, lab)
    assert exact["detail"] == pytest.approx(1, rel=1e-4)
    assert exact["recall"] == exact["precision"] == 1
    assert exact["spectrum"] == pytest.approx(exact["real_spectrum"], rel=1e-4)
    assert exact["samples"] == exact["real"]
    monkeypatch.setattr(Lab, "train", lambda self, *words: Camera(5))
    blurred = claim.measure(case, lab)
    assert blurred["detail"] < 0.6
    assert blurred["recall"] < 0.9
    assert all(math.isfinite(value) for value in blurred["spectrum"])
    assert not {*case} & {*blurred}


def test_recipes_name_models_of_the_zoo():
    for models in claim.MODELS.values():
        assert set(models) <= set(zoo.list_models())
