"""The claim on voices: whose recordings are trained on and told, and how it is judged."""

import pytest
import torch

import zoo
from zoo.data.splits import load_splits
from zoo.errors import ConfigError
from zoo.textbook import compare
from zoo.textbook.claim import INCONCLUSIVE, MEASURED, NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import voices
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")

ACCURACIES = {"naive_bayes": 0.7, "logistic_regression": 0.65, "svm": 0.7, "hmm": 0.87, "rnn": 0.85, "cnn": 0.9}


def rows(**changed):
    """What might be measured: speakers differ, and not alike for all models."""
    found = []
    for case in voices.cases("textbook"):
        model, seed = case.parameters["model"], case.parameters["seed"]
        unheard = case.parameters["split"] == voices.UNHEARD
        accuracy = {**ACCURACIES, **changed}[model] if unheard else 0.97
        accuracy += 0.004 * (seed * [*voices.SECONDS].index(model) % 5)
        found.append({**case.parameters, "accuracy": accuracy, "tested": 500, "wrong": []})
    return found


def test_each_speaker_is_left_out_once():
    cases = voices.cases("textbook")
    for model in voices.SECONDS:
        own = [case.parameters for case in cases if case.parameters["model"] == model]
        assert [case["seed"] for case in own if case["split"] == voices.UNHEARD] == [*range(6)]
        assert [case["seed"] for case in own if case["split"] == voices.SHARED] == [0, 1, 2]
    words = voices.words("hmm", voices.UNHEARD, 3)
    assert {"data.split=speaker", "data.speaker=nicolas", "data.val_size=0", "seed=3"} <= set(words)
    assert "data.speaker=george" not in voices.words("hmm", voices.SHARED, 0)


def test_what_is_measured_is_the_accuracy_on_the_speaker(tmp_path):
    lab = Lab(tmp_path)
    measured = voices.measure({"data": "spoken_digits", "model": "naive_bayes", "split": "speaker", "seed": 5}, lab)
    model = lab.train(*voices.words("naive_bayes", "speaker", 5))
    test = load_splits("spoken_digits", split="speaker", speaker="yweweler", like=model.spec, features="mfcc",
                       align="stretch").test  # fmt: skip
    right = zoo.classify(model, test.x()).argmax(1) == test.labels
    assert measured["tested"] == 500
    assert measured["accuracy"] == pytest.approx(float(right.float().mean()))
    assert measured["wrong"] == (~right).nonzero()[:, 0].tolist()
    assert torch.allclose(lab.splits("spoken_digits", split="speaker", speaker="yweweler", features="mfcc",
                                     align="stretch").test.images, test.images)  # fmt: skip


def test_the_claim_is_judged_by_what_a_seventh_speaker_may_expect():
    assert verdict(voices.findings(rows())) == SUPPORTED
    assert verdict(voices.findings(rows(cnn=0.8))) == NOT_SUPPORTED
    found = {finding.key: finding for finding in voices.findings(rows(logistic_regression=0.87))}
    assert found["hmm-logistic_regression"].verdict == INCONCLUSIVE
    assert found["hmm-svm"].values == pytest.approx([17, 17.4, 15.8, 18.2, 16.6, 17])  # speaker by speaker
    assert found["unheard-rnn"].verdict == MEASURED
    assert found["unheard-rnn"].values[0] == pytest.approx(85)
    assert len(found["heard-cnn"].values) == 3
    assert set(voices.figures(rows())) == {"heard", "unheard", "speakers"}


def test_there_is_nothing_of_it_in_the_quick_suite(tmp_path):
    with pytest.raises(ConfigError, match="claims=voices has no suite=quick: suite=textbook measures it"):
        compare.jobs("quick", ["voices"], tmp_path)
