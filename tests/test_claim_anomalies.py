"""The claim about likelihood as an anomaly score: its cases, one of them measured, and how made-up rows are judged."""

import pytest
import torch

from zoo.data.splits import Split
from zoo.errors import DataError
from zoo.textbook.claim import MEASURED, NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import anomalies
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(paradox: float = 0.2, complexity: float = 0.996, spoilt: float = 0.95, reverse: float = 0.997) -> list[dict]:
    made = []
    for kind, (data, against) in anomalies.PAIRS["textbook"].items():
        for seed in range(3):
            base = {"anomalies": kind, "data": data, "against": against, "seed": seed, "n": 10}
            shift = 0.0005 * seed
            raw = paradox if kind == "simpler" else reverse
            typical = raw + 0.1 if kind == "simpler" else spoilt
            scores = {"log_prob": raw, "typicality": typical, "likelihood_ratio": 0.95, "complexity": complexity,
                      "reconstruction": 0.9, "combined": 0.98}  # fmt: skip
            scores |= {f"complexity-{code}": 0.9 for code in anomalies.CODES}
            row = base | {"model": "vae", "epochs": 5, "code": "lzma" if kind == "simpler" else "deflate"}
            row |= {f"auroc_{name}": value + shift for name, value in scores.items()}
            row["auroc_log_prob"] = min(raw + shift / 2, 1.0)  # gains that are not the same for all seeds
            for score in ("log_prob", "complexity"):
                row |= {f"{score}_range": [0.0, 4.0]}
                row |= {f"{score}_{which}": [1 / 40] * 40 for which in ("normal", "strange")}
            made.append(row)
            made.append(base | {"model": "gmm", "epochs": 5, "auroc_log_prob": 0.95 + shift, "auroc_complexity": 0.7,
                                "auroc_combined": 0.8})  # fmt: skip
            made.append(base | {"model": "cnn"} | {f"auroc_{score}": 0.9 for score in anomalies.CLASSIFIER_SCORES})
    return made


JUDGED = {"paradox", "reverse", "typicality", "likelihood-ratio", "complexity", "kept", "bar", "mixture"}


def test_findings():
    found = {finding.key: finding for finding in anomalies.findings(rows())}
    assert verdict(list(found.values())) == SUPPORTED
    assert {key for key, finding in found.items() if finding.verdict != MEASURED} == JUDGED
    assert found["typicality"].estimate == pytest.approx(0.10025)
    assert found["complexity"].estimate == pytest.approx(0.79625)
    assert found["bar"].values == pytest.approx([0.996, 0.9965, 0.997])
    assert found["kept"].values == pytest.approx([0.95, 0.9505, 0.951])
    assert found["bar"].statement.endswith("The codes: LZMA and deflate (zlib).")
    assert found["code-lzma-paeth"].values == pytest.approx([0.9, 0.9005, 0.901])
    assert found["gmm-combined-richer"].values == [0.8] * 3
    assert "Fashion-MNIST against MNIST" in found["paradox"].statement
    assert "MNIST against Fashion-MNIST" in found["reverse"].statement
    for finding in found.values():
        assert finding.bounds[0] <= finding.interval[0] <= finding.interval[1] <= finding.bounds[1] == 1


def test_no_pair_ranked_wrongly_is_as_sure_as_there_are_images():
    (found,) = (one for one in anomalies.findings(rows(reverse=1.0)) if one.key == "reverse")
    assert set(found.values) == {1.0}
    assert found.verdict == SUPPORTED
    assert 0.9 < found.interval[0] < 0.95  # of thirty images of each kind
    assert found.interval[1] == 1


@pytest.mark.parametrize(("changed", "key"), [({"paradox": 0.7}, "paradox"), ({"complexity": 0.98}, "bar"),
                                              ({"spoilt": 0.7}, "kept")])  # fmt: skip
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
    assert sum(case.seconds for case in cases) < {"textbook": 650, "quick": 25}[suite]
    assert all(("digits" in case.parameters.values()) == (suite == "quick") for case in cases)


def test_measure(tmp_path):
    """A mixture, whose likelihood sees at once that the pixels of digits have been rearranged; twice the same."""
    case = {"data": "digits", "against": "scrambled", "anomalies": "richer", "model": "gmm", "seed": 0, "n": 50,
            "epochs": 1}  # fmt: skip
    lab = Lab(tmp_path)
    measured = anomalies.measure(case, lab)
    assert measured["auroc_log_prob"] > 0.99
    assert measured["fpr95_log_prob"] < 0.05
    assert measured.pop("code") in anomalies.CODES
    assert set(measured) == {
        f"{metric}_{score}"
        for metric in ("auroc", "fpr95")
        for score in ("combined", "log_prob", "typicality", "complexity", "reconstruction")
    }
    again = anomalies.measure(case, lab)
    assert {key: again[key] for key in measured} == measured


def test_no_image_is_dealt_twice():
    split = Split(torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1), torch.zeros(100, dtype=torch.long))
    hands = [anomalies.dealt(split, seed, 25).flatten() for seed in range(4)]
    assert sorted(torch.cat(hands).tolist()) == list(range(100))
    assert hands[0].tolist() != list(range(25))
    with pytest.raises(DataError, match="too few"):
        anomalies.dealt(split, 4, 25)


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
