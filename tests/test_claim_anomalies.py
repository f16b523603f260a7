"""The claim about likelihood as an anomaly score: its cases, one of them measured, and how made-up rows are judged."""

import pytest
import torch

from zoo.textbook.claim import MEASURED, NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import anomalies
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(paradox: float = 0.2, complexity: float = 0.995) -> list[dict]:
    made = []
    for kind, (data, against) in anomalies.PAIRS["textbook"].items():
        for seed in range(3):
            base = {"anomalies": kind, "data": data, "against": against, "seed": seed, "n": 10}
            shift = 0.001 * seed
            raw = paradox if kind == "simpler" else 0.998
            scores = {"log_prob": raw, "typicality": raw + 0.1 * (kind == "simpler"), "likelihood_ratio": 0.9,
                      "complexity": complexity, "reconstruction": 0.9}  # fmt: skip
            row = base | {"model": "vae"} | {f"auroc_{name}": value + shift for name, value in scores.items()}
            for score in ("log_prob", "complexity"):
                row |= {f"{score}_range": [0.0, 4.0]}
                row |= {f"{score}_{which}": [1 / 40] * 40 for which in ("normal", "strange")}
            made.append(row)
            made.append(base | {"model": "gmm", "auroc_log_prob": 0.95 + shift, "auroc_complexity": 0.7})
            made.append(base | {"model": "cnn", "auroc_max_softmax": 0.9, "auroc_energy": 0.9, "auroc_mahalanobis": 1})
    return made


def test_findings():
    found = {finding.key: finding for finding in anomalies.findings(rows())}
    assert verdict(list(found.values())) == SUPPORTED
    assert {key for key, finding in found.items() if finding.verdict == MEASURED} == {
        "mixture-complexity", "classifier", "features",
    }  # fmt: skip
    assert found["typicality"].estimate == pytest.approx(0.1)
    assert found["complexity"].estimate == pytest.approx(0.795)
    assert found["bar"].values == pytest.approx([0.995, 0.996, 0.997])
    assert "Fashion-MNIST against MNIST" in found["paradox"].statement
    assert "MNIST against Fashion-MNIST" in found["reverse"].statement


@pytest.mark.parametrize(("changed", "key"), [({"paradox": 0.7}, "paradox"), ({"complexity": 0.98}, "bar")])
def test_findings_can_fail(changed, key):
    found = {finding.key: finding.verdict for finding in anomalies.findings(rows(**changed))}
    assert found[key] == NOT_SUPPORTED


def test_figures():
    found = anomalies.figures(rows())
    assert list(found) == ["likelihood", "complexity", "scores-simpler", "scores-richer"]
    for figure in found.values():
        (axes,) = figure.axes
        assert axes.get_title(loc="left")
        assert axes.patches or len(axes.lines) > 10
        assert axes.get_xlabel()
    labels = [label.get_text() for label in found["scores-simpler"].axes[0].get_yticklabels()]
    assert labels[0] == "VAE: −log p(x)"
    assert "CNN: Mahalanobis" in labels


@pytest.mark.parametrize("suite", ["textbook", "quick"])
def test_cases(suite):
    cases = anomalies.cases(suite)
    assert len({str(case.parameters) for case in cases}) == len(cases)
    assert sum(case.seconds for case in cases) < {"textbook": 800, "quick": 20}[suite]
    assert all(("digits" in case.parameters.values()) == (suite == "quick") for case in cases)


def test_measure(tmp_path):
    """A mixture, whose likelihood sees at once that the pixels of digits have been rearranged; twice the same."""
    case = {"data": "digits", "against": "scrambled", "anomalies": "richer", "model": "gmm", "seed": 0, "n": 50,
            "epochs": 1}  # fmt: skip
    lab = Lab(tmp_path)
    measured = anomalies.measure(case, lab)
    assert measured["auroc_log_prob"] > 0.99
    assert measured["fpr95_log_prob"] < 0.05
    assert set(measured) == {
        f"{metric}_{score}"
        for metric in ("auroc", "fpr95")
        for score in ("log_prob", "typicality", "complexity", "reconstruction")
    }
    assert anomalies.measure(case, lab) == measured


def test_images():
    generator = torch.Generator().manual_seed(0)
    images = torch.arange(1, 2 * 16 + 1, dtype=torch.uint8).view(2, 1, 4, 4)
    halved = anomalies.anomalies_of(images, "halved", generator)
    assert torch.equal(halved[:, :, :2], images[:, :, :2])
    assert not halved[:, :, 2:].any()
    scrambled = anomalies.anomalies_of(images, "scrambled", generator)
    assert torch.equal(scrambled[0] + 16, scrambled[1])  # the same way in all
    assert torch.equal(scrambled.flatten(1).sort()[0], images.flatten(1))
    assert not torch.equal(scrambled, images)
    blank = torch.zeros(1, 1, 200, 200, dtype=torch.uint8)
    changed = anomalies.mutate(blank, 0.3, generator)
    assert float((changed > 0).float().mean()) == pytest.approx(0.3 * 255 / 256, abs=0.01)
    assert changed.dtype == torch.uint8


def test_histogram():
    """Shares of all images in equal bins; both sets share their bins."""
    found = anomalies._histogram("x", torch.linspace(0, 1, 1000).double(), torch.linspace(1, 3, 1000).double())
    low, high = found["x_range"]
    assert (low, high) == (pytest.approx(0.005, abs=1e-3), pytest.approx(2.99, abs=1e-2))
    assert len(found["x_normal"]) == len(found["x_strange"]) == anomalies.BINS
    assert 0.98 < sum(found["x_normal"]) <= 1
    assert sum(found["x_normal"][14:]) == 0
