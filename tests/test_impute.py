"""scripts/impute.py and zoo/tasks/impute.py: masks, and measures with a known answer."""

import contextlib
import io
import json
import math
import runpy
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import ROOT, run_train
from PIL import Image
from scipy.stats import multivariate_normal

import zoo
from zoo.base.model import Model
from zoo.data.splits import draw
from zoo.errors import ConfigError, DataError, ZooError
from zoo.tasks.impute import (
    HIDDEN,
    MASKS,
    covered,
    describe,
    hidden_nll,
    interval_ranks,
    measure,
    observed_mask,
    picture,
    squared_error,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- masks -----------------------------------------------------------------------------------------------------------


def test_mcar_hides_each_pixel_by_itself():
    observed = observed_mask("mcar", 2000, (6, 5), 0.3, generator())
    assert (observed.shape, observed.dtype) == ((2000, 1, 6, 5), torch.bool)
    hidden = (~observed).double().flatten(1)
    assert (hidden.mean(0) - 0.3).abs().max() < 5 * math.sqrt(0.21 / 2000)  # each place equally often
    assert abs(hidden.sum(1).var() - 30 * 0.21) < 0.6  # and independently: a binomial count
    assert observed_mask("mcar", 9, (6, 5), 0.0, generator()).all()
    assert not observed_mask("mcar", 9, (6, 5), 1.0, generator()).any()


@pytest.mark.parametrize(("size", "missing", "wanted"), [((28, 28), 0.25, (14, 14)), ((6, 9), 0.5, (4, 6))])
def test_block_is_one_rectangle_anywhere(size, missing, wanted):
    hidden = ~observed_mask("block", 3000, size, missing, generator())[:, 0]
    rows, columns = hidden.any(2), hidden.any(1)
    assert torch.equal(hidden, rows[:, :, None] & columns[:, None])
    corners = set()
    for row, column in zip(rows, columns, strict=True):
        for places, length in ((row, wanted[0]), (column, wanted[1])):
            index = places.nonzero()[:, 0]
            assert index.tolist() == list(range(int(index[0]), int(index[0]) + length))
        corners.add((int(row.nonzero()[0]), int(column.nonzero()[0])))
    assert len(corners) == (size[0] - wanted[0] + 1) * (size[1] - wanted[1] + 1)  # everywhere where it fits


def test_halves():
    place = torch.arange(20).view(4, 5)
    hidden = {side: set(place[~observed_mask(side, 1, (4, 5))[0, 0]].tolist()) for side in MASKS[3:]}
    assert hidden["left"] == {0, 1, 5, 6, 10, 11, 15, 16}
    assert hidden["right"] == {3, 4, 8, 9, 13, 14, 18, 19}
    assert hidden["top"] == set(range(10))
    assert hidden["bottom"] == set(range(10, 20))
    drawn = ~observed_mask("half", 4000, (4, 5), generator=generator())[:, 0]
    found = [frozenset(place[one].tolist()) for one in drawn]
    assert set(found) == {frozenset(one) for one in hidden.values()}
    assert all(abs(found.count(frozenset(one)) - 1000) < 150 for one in hidden.values())


def test_masks_come_from_their_generator():
    state = torch.get_rng_state()
    for kind in MASKS:
        masks = [observed_mask(kind, 50, (8, 8), 0.5, generator(seed)) for seed in (0, 0, 1)]
        assert torch.equal(masks[0], masks[1])
        assert torch.equal(masks[0], masks[2]) == (kind in MASKS[3:])
    assert not torch.equal(observed_mask("mcar", 50, (8, 8)), observed_mask("mcar", 50, (8, 8)))
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ConfigError, match="did you mean 'block'"):
        observed_mask("blok", 1, (8, 8))
    with pytest.raises(ConfigError, match="from 0 to 1"):
        observed_mask("mcar", 1, (8, 8), 1.5)


# --- measures, by hand -----------------------------------------------------------------------------------------------


def test_measures_by_hand():
    x = torch.tensor([0.0, 0.5, 1.0, 0.5]).view(1, 1, 2, 2)
    seen = torch.tensor([True, False, False, False]).view(1, 1, 2, 2)
    guess = torch.tensor([9.0, 0.4, 0.7, 0.5]).view(1, 1, 2, 2)
    assert squared_error(guess, x, seen).tolist() == pytest.approx([0.01 + 0.09])
    assert squared_error(torch.stack([guess, x]), x, seen).tolist() == pytest.approx([0.05])
    draws = torch.stack([x + shift for shift in (-0.3, -0.2, -0.1, 0.1, 0.4)])
    draws[:, 0, 0, 1, 0] += 1  # all above the truth
    inside, width = covered(draws, x, seen)
    assert inside.tolist() == [2]
    assert width.tolist() == pytest.approx([3 * 0.7])
    inside, width = covered(draws, x, seen, level=0.4)  # from the second to the fourth
    assert width.tolist() == pytest.approx([3 * 0.3])


@pytest.mark.parametrize(
    ("n", "rank", "level"), [(2, 1, 1 / 3), (9, 1, 0.8), (19, 1, 0.9), (39, 2, 0.9), (50, 3, 45 / 51)]
)
def test_interval_ranks(n, rank, level):
    assert interval_ranks(n) == (rank, pytest.approx(level))
    draws = torch.rand(n + 1, 50_000, generator=generator()).double()  # exchangeable, whatever the distribution
    ordered = draws[:-1].sort(0).values
    inside = ((ordered[rank - 1] <= draws[-1]) & (draws[-1] <= ordered[-rank])).double().mean()
    assert float(inside) == pytest.approx(level, abs=0.008)


# --- measures of one Gaussian, whose answers are known in closed form ------------------------------------------------


SIDE = 4


@pytest.fixture(scope="module")
def gaussian():
    """A model of one Gaussian in 16 pixels, and 2,000 images that it has drawn, as grey levels."""
    spec = zoo.DataSpec((1, SIDE, SIDE), 2, mean=(0.5,), std=(0.1,))
    model = zoo.create("gmm", spec, num_components=1, pca=0, per_class=False, floor=0.0)
    root = torch.randn(SIDE**2, 6, generator=generator(1)).double()
    covariance = 0.0015 * (root @ root.T) + 0.002 * torch.eye(SIDE**2, dtype=torch.float64)  # deviations of about 0.1
    mean = 0.4 + 0.2 * torch.rand(SIDE**2, generator=generator(2)).double()
    factor = torch.linalg.cholesky(covariance)
    with torch.no_grad():
        model.mean[0, 0] = mean.float()
        model.covariance.factor[0, 0] = (factor.tril(-1) + torch.diag_embed(factor.diagonal().log())).float()
        model.initialized.fill_(True)
    normal = torch.randn(2000, SIDE**2, generator=generator(3)).double()
    images = (mean + normal @ factor.T).mul(255).round().clamp(0, 255).byte().view(-1, 1, SIDE, SIDE)
    return model, mean, covariance, images


def test_gaussian_measures_are_what_theory_says(gaussian):
    model, _, covariance, images = gaussian
    observed = observed_mask("right", len(images), (SIDE, SIDE))
    metrics = measure(model, images, observed)
    seen = observed[0].flatten()
    a, b, c = covariance[~seen][:, ~seen], covariance[~seen][:, seen], covariance[seen][:, seen]
    left = a - b @ torch.linalg.solve(c, b.T)  # covariance of the hidden given the seen
    mean_error = float(left.trace() / len(left)) ** 0.5
    assert metrics["hidden"] == 0.5
    assert metrics["rmse_mean"] == pytest.approx(mean_error, rel=0.02)
    assert metrics["rmse_draw"] == pytest.approx(math.sqrt(2) * mean_error, rel=0.02)  # two independent deviations
    assert metrics["rmse_training_mean"] > 1.2 * metrics["rmse_mean"]
    x, local = images / 255, images.clone() / 255
    for row in range(SIDE):  # of the left half, the second column is what is around: above, beside and below
        rows = slice(max(row - 1, 0), row + 2)
        local[:, 0, row, 2] = x[:, 0, rows, 1].mean(1)
        local[:, 0, row, 3] = x[:, 0, max(row - 2, 0) : row + 3, 1].mean(1)
    expected = float((local - x)[:, :, :, 2:].square().mean()) ** 0.5
    assert metrics["rmse_local_mean"] == pytest.approx(expected, rel=1e-4)
    entropy = 0.5 * float(torch.logdet(2 * math.pi * math.e * left)) / len(left)
    assert metrics["nll"] == pytest.approx(entropy, abs=0.02)
    assert metrics["nll_of"] == "exact, dequantised"
    assert metrics["level"] == pytest.approx(0.9)
    assert metrics["coverage"] == pytest.approx(0.9, abs=0.01)
    # the expected range of 19 normal draws is 3.689 standard deviations (Tippett 1925)
    assert metrics["width"] == pytest.approx(3.689 * float(left.diagonal().sqrt().mean()), rel=0.02)
    assert not any(name.startswith("accuracy") for name in metrics)


def test_intervals_of_a_wrong_model_do_not_hold(gaussian):
    """A model that is too sure of itself: half the deviations, and less than nine in ten covered."""
    model, _, _, images = gaussian
    sure = zoo.create("gmm", model.spec, num_components=1, pca=0, per_class=False, floor=0.0)
    sure.load_state_dict(model.state_dict())
    with torch.no_grad():
        sure.covariance.factor[0, 0] -= math.log(2) * torch.eye(SIDE**2)
        sure.covariance.factor[0, 0] -= 0.5 * sure.covariance.factor[0, 0].tril(-1)
    observed = observed_mask("right", 1000, (SIDE, SIDE))
    honest, boastful = (measure(one, images[:1000], observed) for one in (model, sure))
    assert boastful["coverage"] < honest["coverage"] - 0.1
    assert boastful["nll"] > honest["nll"] + 0.2


def test_nll_is_a_conditional_density(gaussian):
    """Image by image, against SciPy: log p(x) − log p(seen), of the same noisy grey values."""
    model, mean, covariance, images = gaussian
    images = images[:20]
    observed = observed_mask("mcar", 20, (SIDE, SIDE), 0.5, generator())
    found = hidden_nll(model, images, observed, generator(5))
    noisy = zoo.metrics.likelihood.dequantise(images, generator(5)).flatten(1).double()
    for row, x, seen in zip(found, noisy, observed.flatten(1), strict=True):
        joint = multivariate_normal(mean, covariance).logpdf(x)
        marginal = multivariate_normal(mean[seen], covariance[seen][:, seen]).logpdf(x[seen])
        assert float(row) == pytest.approx(marginal - joint, abs=1e-3)


def test_coin_model():
    """Independent coins: −log p of a hidden pixel is its coin's entropy, and a draw is wrong as often as chance."""
    spec = zoo.DataSpec((1, 2, 3), 2, mean=(0.5,))
    model = zoo.create("naive_bayes", spec)
    p = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9, 0.2])
    with torch.no_grad():
        model.logits.copy_(p.logit().expand(2, 6))  # both classes alike: nothing is told by the seen pixels
    images = (torch.rand(20_000, 6, generator=generator()) < p).byte().mul(255).view(-1, 1, 2, 3)
    metrics = measure(model, images, observed_mask("top", len(images), (2, 3)), labels=torch.zeros(len(images)).long())
    coins = p[:3].double()
    assert metrics["nll"] == pytest.approx(
        float(torch.special.entr(torch.stack([coins, 1 - coins])).sum(0).mean()), abs=0.01
    )
    assert metrics["rmse_mean"] == pytest.approx(float((coins * (1 - coins)).mean()) ** 0.5, abs=0.01)
    assert metrics["rmse_draw"] == pytest.approx(float((2 * coins * (1 - coins)).mean()) ** 0.5, abs=0.01)
    assert metrics["nll_of"] == "exact, binary"
    assert "accuracy_seen" in metrics


def test_bound_sees_the_same_binary_pixels_twice():
    """Hidden pixels must not change how the seen ones are made binary: with none hidden, the difference is zero."""
    model = zoo.create("vae", zoo.DataSpec((1, 6, 6), 2), latent_dim=2, hidden_sizes=[8])
    images = torch.randint(256, (5, 1, 6, 6), generator=generator(), dtype=torch.uint8)
    nothing = torch.ones(5, 1, 6, 6, dtype=torch.bool)
    torch.testing.assert_close(hidden_nll(model, images, nothing, generator()), torch.zeros(5))
    observed = observed_mask("left", 5, (6, 6))
    other = images.clone()
    other[~observed] = 255 - other[~observed]
    metrics = measure(model, images, observed, n=3)
    assert metrics["nll_of"] == "difference of two lower bounds, binarised"
    binary = zoo.models.vae.binarise(images.float() / 255)
    levels = (binary * 255).byte()
    again = measure(model, levels, observed, n=3)
    assert metrics["nll"] == pytest.approx(again["nll"], rel=1e-5)


def test_accuracies():
    """A classifier that looks at one pixel, and a model that knows it from its neighbour."""
    spec = zoo.DataSpec((1, 1, 2), 2, mean=(0.5,))
    model = zoo.create("naive_bayes", spec)
    with torch.no_grad():
        model.logits.copy_(torch.tensor([[-6.0, -6.0], [6.0, 6.0]]))  # class 0 is black, class 1 white
    classifier = zoo.create("logistic_regression", spec)
    with torch.no_grad():
        classifier.head.weight.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]))
        classifier.head.bias.copy_(torch.tensor([0.1, 0.0]))
    labels = torch.arange(200) % 2
    images = (labels * 255).byte().view(-1, 1, 1, 1).expand(-1, 1, 1, 2).contiguous()
    metrics = measure(model, images, observed_mask("left", 200, (1, 2)), labels=labels, classifier=classifier)
    assert metrics["accuracy_complete"] == metrics["accuracy_imputed"] == metrics["accuracy_seen"] == 1
    assert metrics["accuracy_training_mean"] == 0.5
    assert metrics["accuracy_local_mean"] == 1  # the neighbour's


class Guesser(Model):
    """One that can complete images, at random, and nothing else."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec

    def impute(self, x, observed, n=1, generator=None):
        return torch.rand((n, *x.shape), generator=generator)


def test_a_model_without_mean_and_likelihood(gaussian):
    """Uniform guesses of black images: their error and width are known, and a classifier sees one of them."""
    model, _, _, images = gaussian
    images, labels = torch.full_like(images, 0), torch.zeros(len(images)).long()
    guesser, nothing = Guesser(model.spec), torch.zeros(1, 1, 1, 1, dtype=torch.bool)
    classifier = zoo.create("logistic_regression", model.spec)
    with torch.no_grad():  # class 1 above a grey value of 0.25 in the first pixel
        classifier.head.weight.zero_()[1, 0] = 1.0
        classifier.head.bias.copy_(torch.tensor([(0.25 - 0.5) / 0.1, 0.0]))
    metrics = measure(guesser, images, nothing, labels=labels, classifier=classifier)
    assert set(metrics) == {
        "hidden", "level", "rmse_draw", "rmse_local_mean", "rmse_training_mean", "coverage", "width",
        "accuracy_complete", "accuracy_imputed", "accuracy_local_mean", "accuracy_training_mean",
    }  # fmt: skip
    assert metrics["rmse_draw"] == pytest.approx(3**-0.5, abs=0.003)
    assert metrics["rmse_training_mean"] == metrics["rmse_local_mean"] == 0.5  # where nothing is around
    assert metrics["coverage"] == 0
    assert metrics["width"] == pytest.approx(0.9, abs=0.003)  # the expected range of 19 uniform numbers, 18 / 20
    assert metrics["accuracy_complete"] == 1
    assert metrics["accuracy_imputed"] == pytest.approx(0.25, abs=0.03)
    assert metrics["accuracy_training_mean"] == 0


def test_refusals(gaussian):
    model, _, _, images = gaussian
    seen = torch.ones(1, 1, SIDE, SIDE, dtype=torch.bool)
    with pytest.raises(DataError, match="no pixel is hidden"):
        measure(model, images, seen)
    with pytest.raises(ConfigError, match="2 completions"):
        measure(model, images, ~seen, n=1)
    with pytest.raises(DataError, match="the images are 1×4×4, logistic_regression was made for 1×28×28"):
        measure(model, images, ~seen, classifier=zoo.create("logistic_regression"))
    with pytest.raises(ZooError, match=r"logistic_regression cannot impute; models that can: .*gmm"):
        measure(zoo.create("logistic_regression", model.spec), images, ~seen)


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_marks_hidden_pixels(channels):
    model = zoo.create("gmm", zoo.DataSpec((channels, 6, 6), 2), num_components=2, pca=3)
    images = torch.randint(256, (4, channels, 6, 6), generator=generator(), dtype=torch.uint8)
    observed = observed_mask("mcar", 4, (6, 6), 0.5, generator())
    pixels = picture(model, images, observed)
    marked = (pixels == torch.tensor(HIDDEN, dtype=torch.uint8)).all(2).sum()
    assert pixels.shape[2] == 3
    assert int(marked) == int((~observed).sum()) * 8 * 8  # a pixel is enlarged to 8×8


# --- the command -----------------------------------------------------------------------------------------------------

TINY = ("data=digits", "experiment=debug", "logger=none", "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """Naive Bayes and logistic regression, a few seconds old."""
    folder = tmp_path_factory.mktemp("runs")
    return tuple(run_train(folder / name, f"model={name}", *TINY) for name in ("naive_bayes", "logistic_regression"))


def impute(*words: str) -> str:
    with mock.patch.object(sys, "argv", ["impute.py", *words]), contextlib.redirect_stdout(io.StringIO()) as said:
        runpy.run_path(str(ROOT / "scripts" / "impute.py"), run_name="__main__")
    return said.getvalue()


def test_command(runs, tmp_path):
    model, classifier = runs
    words = (f"ckpt={model}", f"classifier={classifier}", "mask=block", "missing=0.3", "n=9", "images=60", "seed=4")
    said = impute(*words, f"out={tmp_path / 'first.png'}", f"json={tmp_path / 'numbers.json'}")
    assert "60 images" in said
    metrics = json.loads((tmp_path / "numbers.json").read_text())
    loaded = zoo.load(model)
    split = draw(zoo.ImageDataModule("digits").splits.test, 60)
    images, labels = split.images, split.labels
    observed = observed_mask("block", 60, (28, 28), 0.3, generator(4))
    wanted = measure(loaded, images, observed, 9, 4, labels, zoo.load(classifier))
    assert metrics.pop("options")["mask"] == "block"
    assert metrics == wanted
    assert all(value in said for _, value, _ in describe(wanted, 9))
    with Image.open(tmp_path / "first.png") as file:
        shown = torch.from_numpy(np.array(file))
    assert torch.equal(shown, picture(loaded, images[:10], observed[:10], 4))
    impute(*words, f"out={tmp_path / 'again'}")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "first.png").read_bytes()


def test_own_pictures(runs, tmp_path):
    """Named files and folders: nothing is known of their classes; the picture goes beside the weights."""
    (tmp_path / "mine").mkdir()
    for number in range(3):
        Image.new("L", (40, 30), 80 * number).save(tmp_path / "mine" / f"{number}.png")
    said = impute(f"ckpt={runs[0]}", str(tmp_path / "mine"), str(tmp_path / "mine" / "0.png"), "mask=half", "n=3")
    assert "4 images" in said
    assert "accuracy" not in said
    assert (runs[0] / "imputed-half-seed0.png").is_file()


def test_command_refuses(runs, tmp_path, capsys):
    for words, reason in (
        ((f"ckpt={runs[1]}",), "logistic_regression cannot impute; models that can: "),
        ((f"ckpt={runs[0]}", "mask=half", "missing=0.2"), "missing=0.2 is for mcar and block"),
        ((f"ckpt={runs[1]}", "mask=nowhere.png"), "logistic_regression cannot impute; models that can: "),
        ((f"ckpt={runs[0]}", "n=0"), "must be in [1"),
        ((f"ckpt={runs[0]}", "n=1"), "an interval needs 2 completions of each image at least, not 1"),
        ((f"ckpt={runs[0]}", "mean=true"), "the expected one is measured beside completions"),
        ((f"ckpt={runs[0]}", "missing=0.0"), "must be in (0"),
        ((f"ckpt={runs[0]}", f"out={tmp_path / 'nowhere' / 'x.png'}"), "does not exist"),
        ((f"ckpt={runs[0]}", f"out={tmp_path / 'nowhere'}/"), "does not exist"),
        ((f"ckpt={runs[0]}", f"out={tmp_path / 'notes.txt'}"), "ends with .png"),
        ((f"ckpt={runs[0]}", f"json={tmp_path / 'nowhere' / 'x.json'}"), "nowhere does not exist"),
        ((f"ckpt={runs[0]}", f"json={tmp_path}"), "is a folder"),
        ((f"ckpt={runs[0]}", "missing.png"), "does not exist"),
    ):
        with pytest.raises(SystemExit) as end:
            impute(*words)
        assert end.value.code == 2
        assert reason in capsys.readouterr().err
    assert not list(runs[1].glob("imputed*"))
    assert not list(tmp_path.iterdir())
