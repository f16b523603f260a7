"""The claim that synthetic data helps when real data is scarce: what is measured, and how it is judged."""

import pytest
import torch

from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, select, summed, verdict
from zoo.textbook.claims import synthetic_data as claim
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")

TESTED = 10_000  # images


def rows(suite: str, accuracy) -> list[dict]:
    """Made-up measurements: ``accuracy(n, taught, m)`` and a little more with each seed."""
    found = []
    for case in claim.cases(suite):
        values = case.parameters
        made = accuracy(values["n"], values["taught"], values["m"]) + 0.001 * values["seed"]
        wrong = list(range(round((1 - made) * TESTED)))  # the most difficult ones, for all
        found.append({**values, "accuracy": made, "tested": TESTED, "wrong": wrong})
    return found


def textbook(n: int, taught: str, m: int) -> float:
    real = {100: 0.8, 1_000: 0.95, 10_000: 0.98, 60_000: 0.99}[n]
    helped = (0.05 if m == 10_000 else 0.03) if n < 1_000 else -0.01
    return real + {"real": 0, "shifted": 0.02, "both": helped, "both shifted": 0.03, "samples": -0.006}[taught]


@pytest.mark.parametrize("suite", ["quick", "textbook"])
def test_cases(suite):
    parameters = [str(sorted(case.parameters.items())) for case in claim.cases(suite)]
    assert len({*parameters}) == len(parameters)
    assert all(0 < case.seconds <= 120 for case in claim.cases(suite))
    assert sum(case.seconds for case in claim.cases(suite)) <= (20 if suite == "quick" else 750)


def test_supported_where_the_textbook_is_right():
    found = {finding.key: finding for finding in claim.findings(rows("textbook", textbook))}
    assert found["few"].estimate == pytest.approx(3)
    assert found["few-more"].estimate == pytest.approx(5)
    assert found["many"].estimate == pytest.approx(-1)
    assert found["less"].estimate == pytest.approx(6)
    assert found["shifts"].estimate == pytest.approx(2)
    assert found["beside-shifts"].estimate == pytest.approx(1)
    assert found["alone"].estimate == found["behind"].estimate == pytest.approx(0.6)
    assert all(finding.error > 0 for finding in found.values())
    assert verdict([*found.values()]) == SUPPORTED


def test_seeds_are_compared_with_their_own():
    """Of selections of different numbers of seeds, those that all have; and the same ones bring the error."""
    wrong = {("real", 0): [0, 1, 2, 3], ("real", 1): [0, 1, 2], ("real", 2): [*range(50)], ("both", 0): [0, 1],
             ("both", 1): [0, 1, 5]}  # fmt: skip
    found = [{"taught": taught, "seed": seed, "accuracy": 1 - len(images) / 100, "tested": 100, "wrong": images}
             for (taught, seed), images in wrong.items()]  # fmt: skip
    points, error = summed((select(found, taught="both"), 1), (select(found, taught="real"), -1))
    assert points == pytest.approx([2, 0])
    adds = torch.zeros(100).double()
    adds[[2, 3, 5]] = torch.tensor([1, 0.5, -0.5]).double()
    assert error == pytest.approx(100 * float(adds.std()) / 10)


def test_not_supported_where_samples_go_on_helping():
    def helping(n: int, taught: str, m: int) -> float:
        return textbook(n, taught, m) + (0.03 if taught == "both" else 0)

    found = {finding.key: finding.verdict for finding in claim.findings(rows("textbook", helping))}
    assert found["few"] == SUPPORTED
    assert found["many"] == NOT_SUPPORTED
    assert verdict(claim.findings(rows("textbook", helping))) == NOT_SUPPORTED


def test_figures():
    figures = claim.figures(rows("textbook", textbook))
    assert set(figures) == {"accuracy", "gain"}
    lines = {line.get_label(): line for line in figures["accuracy"].axes[0].get_lines()}
    assert list(lines["n real images"].get_xdata()) == [100, 1_000, 10_000, 60_000]
    assert list(lines["n real images + 10,000 samples"].get_ydata()) == pytest.approx([85.25, 94.1, 97.15])
    assert list(lines["the same, shifted"].get_ydata()) == pytest.approx([83.1])
    assert list(lines["50,000 samples alone"].get_ydata()) == pytest.approx([98.5])
    gained = {line.get_label(): line for line in figures["gain"].axes[0].get_lines()}
    assert list(gained["n real images, shifted"].get_ydata()) == pytest.approx([2])
    assert "n real images" not in gained
    quick = claim.figures(rows("quick", lambda n, taught, m: 0.9))
    assert len(quick["accuracy"].axes[0].get_lines()) == 2


def test_measured_on_the_same_images(tmp_path):
    """The generator has seen the images that the classifier is given, and no others; the same case, the same answer."""
    lab = Lab(tmp_path)
    splits = lab.splits("digits", train_size=50, split_seed=1)
    model = claim.generator(lab, "digits", 50, 1)
    means = [splits.train.images[splits.train.labels == label].float().div(255).mean(0) for label in range(10)]
    samples = claim.labelled_samples(model, 4_000, 0)
    for label, mean in enumerate(means):  # one Gaussian a class: its mean is theirs, but for grey values below 0
        of_class = samples.images[samples.labels == label].float().div(255).mean(0)
        assert float((of_class - mean).abs().max()) < 0.12
    repeated = claim._repeated(splits.train, 120)
    assert torch.equal(repeated.labels, splits.train.labels.repeat(3)[:120])
    case = {"data": "digits", "n": 50, "taught": "both", "m": 100, "steps": 5, "seed": 1}
    state = torch.get_rng_state()
    first, second = (claim.measure(case, lab) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert first == second
    assert claim.measure({**case, "taught": "real", "m": 0, "steps": 60}, lab)["accuracy"] > 0.4
    assert first["tested"] == len(splits.test)
    assert len(first["wrong"]) == round(len(splits.test) * (1 - first["accuracy"]))
