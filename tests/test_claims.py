"""What holds for every claim of the report, and the rule by which all are judged."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.stats
import torch

from zoo import config as configuration
from zoo.errors import ConfigError
from zoo.files import CONFIGS, PRETRAINED
from zoo.metrics.intervals import mean_interval
from zoo.registry import list_models, load
from zoo.textbook import claims, roster
from zoo.textbook.claim import (
    INCONCLUSIVE,
    MEASURED,
    NOT_SUPPORTED,
    SUPPORTED,
    Finding,
    answered,
    deciding,
    differences,
    paired_error,
    refuted,
    sampling_error,
    select,
    standard_error,
    verdict,
)
from zoo.textbook.lab import Lab

HOURS = 3.5  # of the suite textbook, on two cores


@pytest.mark.parametrize("name", claims.names())
def test_a_claim_says_what_it_is(name):
    claim = claims.find(name).CLAIM
    assert claim.title
    assert claim.title[-1] != "."
    for text in (claim.statement, claim.protocol):
        assert text.endswith(".")
    assert any(character.isdigit() for character in claim.source)  # a year


def test_claims_have_places_of_their_own():
    assert sorted(claims.find(name).CLAIM.number for name in claims.names()) == list(range(1, len(claims.names()) + 1))


@pytest.mark.parametrize("suite", claims.SUITES)
@pytest.mark.parametrize("name", claims.names())
def test_cases_are_plain_and_different(name, suite):
    cases = claims.find(name).cases(suite)
    keys = [json.dumps(case.parameters, sort_keys=True) for case in cases]
    if (name, suite) == ("voices", "quick"):  # there is no set of voices that needs no download
        assert not cases
        return
    assert cases
    assert len(set(keys)) == len(keys)
    assert [json.loads(key) for key in keys] == [dict(case.parameters) for case in cases]
    for case in cases:
        assert isinstance(case.parameters["seed"], int)
        assert 0 < case.seconds <= 900
        known = ("spoken_digits",) if name == "voices" else ("mnist", "fashion_mnist")
        assert case.parameters.get("data") in (("digits",) if suite == "quick" else known)
    assert len({case.parameters["seed"] for case in cases}) >= 2  # there is an interval


def test_the_suites_keep_their_time():
    for suite, seconds in (("textbook", HOURS * 3600), ("quick", 300)):
        assert sum(case.seconds for name in claims.names() for case in claims.find(name).cases(suite)) < seconds


def test_an_unknown_claim():
    with pytest.raises(ConfigError, match="did you mean"):
        claims.find("gatin")


def test_the_roster_has_known_models():
    assert {*roster.CLASSIFIERS, *roster.SHORTER, *roster.QUICK} <= set(list_models())


# The rule


def finding(*values: float, **threshold: float) -> Finding:
    return Finding("key", "It holds.", values, "points", **threshold)


@pytest.mark.parametrize(
    ("values", "above", "below"),
    [
        ((1.0, 1.1, 0.9), SUPPORTED, NOT_SUPPORTED),
        ((-1.0, -1.1, -0.9), NOT_SUPPORTED, SUPPORTED),
        ((1.0, -1.1, 0.5), INCONCLUSIVE, INCONCLUSIVE),
        ((5.0,), INCONCLUSIVE, INCONCLUSIVE),
        ((5.0, math.nan), INCONCLUSIVE, INCONCLUSIVE),
        ((5.0, 5.0), INCONCLUSIVE, INCONCLUSIVE),
    ],
)
def test_a_finding_is_judged_by_its_interval(values, above, below):
    assert finding(*values, above=0).verdict == above
    assert finding(*values, below=0).verdict == below
    assert finding(*values).verdict == MEASURED


def test_a_claim_is_judged_by_its_findings():
    good, bad, open_ = finding(1, 1.1, above=0), finding(-1, -1.001, above=0), finding(1, above=0)
    assert verdict([good, finding(3)]) == SUPPORTED
    assert verdict([good, open_]) == INCONCLUSIVE
    assert verdict([good, open_, bad]) == NOT_SUPPORTED
    with pytest.raises(ValueError, match="needs a finding with a threshold"):
        verdict([finding(3)])


def test_one_of_many_findings_refutes_a_claim_only_by_holms_correction():
    good = finding(1, 1.01, 0.99, above=0)
    shaky = finding(-1, -1.1, -0.7, above=0)
    assert shaky.verdict == NOT_SUPPORTED
    assert verdict([shaky]) == NOT_SUPPORTED
    assert 0.025 / 4 < shaky.chances[1] < 0.025
    assert verdict([shaky, good, good, good]) == INCONCLUSIVE
    assert verdict([shaky, finding(-5, -5.01, above=0), good]) == NOT_SUPPORTED


@pytest.mark.parametrize("seed", range(3))
def test_holms_correction_is_as_defined(seed):
    """Against its definition: adjusted p-values are running maxima of (m − i) p, in rising order."""
    draws = scipy.stats.norm.rvs(loc=-1, size=(8, 4), random_state=seed)
    found = [Finding(str(place), "…", row, "", above=0) for place, row in enumerate(draws.tolist())]
    plain = sorted(scipy.stats.ttest_1samp(row, 0, alternative="less").pvalue for row in draws)
    adjusted = [max((8 - place) * plain[place] for place in range(last + 1)) for last in range(8)]
    assert len(refuted(found)) == sum(value <= 0.025 for value in adjusted)


def test_true_claims_are_rarely_refuted():
    """Of claims of ten findings that hold, but barely, no more than a fortieth are refuted; without Holm a fifth."""
    draws = scipy.stats.norm.rvs(size=(1000, 10, 5), random_state=0)
    claims_ = [[Finding("key", "…", row, "", above=0) for row in table] for table in draws.tolist()]
    assert sum(verdict(found) == NOT_SUPPORTED for found in claims_) / len(claims_) < 0.035
    assert sum(any(one.verdict == NOT_SUPPORTED for one in found) for found in claims_) / len(claims_) > 0.15


def test_the_finding_that_decides():
    sure, barely = finding(5, 5.01, above=0), finding(1, 1.2, above=0)
    refuting = finding(-5, -5.001, above=0)
    assert deciding([sure, barely]) is barely
    assert deciding([sure, barely, refuting, finding(-5, -5.01, above=0)]) is refuting
    assert deciding([sure, finding(-3, 4, above=0), finding(7)]).values == (-3, 4)


def test_intervals_stay_in_their_bounds():
    assert Finding("key", "…", [0.97, 1.0, 0.99], "AUROC", above=0.9, bounds=(0, 1)).interval[1] == 1
    assert Finding("key", "…", [0.97, 1.0, 0.99], "AUROC", above=0.9).interval[1] > 1


def test_the_error_of_test_images_is_in_the_interval():
    """Seeds that agree leave the error of their images; it does not shrink with them."""
    error = sampling_error([0.9, 0.9], [0.8, 0.8], images=1000)
    assert error == pytest.approx(100 * math.sqrt((0.09 + 0.16) / 1000))
    for count in (2, 50):
        low, high = Finding("key", "…", [10.0] * count, "points", above=0, error=error).interval
        assert (high - low) / 2 == pytest.approx(1.959964 * error, rel=1e-4)
    assert Finding("key", "…", [1.0, 1.0], "points", above=0, error=error).verdict == INCONCLUSIVE


def test_intervals_with_a_shared_error_hold_the_mean_as_often_as_they_say():
    generator = np.random.default_rng(0)
    shared, own = generator.normal(0, 1, 4000), generator.normal(0, 2, (4000, 4))
    held = [low < 0 < high for low, high in (mean_interval(row, error=1.0) for row in (own.T + shared).T.tolist())]
    assert 0.935 < sum(held) / len(held) < 0.975


def test_a_finding_has_values_and_one_threshold():
    with pytest.raises(ValueError, match="one threshold"):
        finding(1, above=0, below=1)
    with pytest.raises(ValueError, match="needs values"):
        finding()


def test_an_interval_is_students():
    values = [2.1, 2.9, 2.4, 3.3]
    expected = scipy.stats.t.interval(0.95, 3, 2.675, scipy.stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)
    assert mean_interval([1.0]) == (-math.inf, math.inf)
    assert all(math.isnan(end) for end in mean_interval([1.0, math.inf]))
    low, high = mean_interval(values, level=0.5)
    assert low > expected[0]
    assert high < expected[1]


def test_an_interval_holds_the_mean_as_often_as_it_says():
    draws = scipy.stats.norm.rvs(loc=1, size=(2000, 4), random_state=0)
    held = [low < 1 < high for low, high in map(mean_interval, draws.tolist())]
    assert 0.935 < sum(held) / len(held) < 0.965


def test_rows_are_selected_by_value_and_sorted_by_seed():
    rows = [{"seed": 1, "a": 1, "x": 3.0}, {"seed": 0, "a": 1, "x": 2.0}, {"seed": 0, "a": 2, "x": 9.0}]
    assert [row["x"] for row in select(rows, a=1)] == [2.0, 3.0]
    assert differences([3.0, 2.0], [1.0, 1.0], 100) == [200.0, 100.0]


# Released models that the report takes


RELEASED = sorted(path.parent for path in PRETRAINED.glob("*/config.json") if "training" in path.read_text())


@pytest.mark.parametrize("folder", RELEASED, ids=lambda folder: folder.name)
def test_a_released_model_is_what_its_recipe_says(folder, tmp_path):
    recipe = json.loads((folder / "config.json").read_text())["training"]["recipe"]
    settings = configuration.settings(recipe, CONFIGS)
    taken = Lab(tmp_path / "models").train(*recipe)
    assert not (tmp_path / "models").exists()  # nothing was trained
    assert taken.config["name"] == settings["model"].pop("name")
    if "encoder" in settings["model"]:  # by its name; what is kept is what it is
        settings["model"]["encoder"] = load(settings["model"]["encoder"]).config
    assert taken.config["options"] == settings["model"]
    card = (folder / "README.md").read_text()
    assert all(word in card for word in ["`zoo train", *recipe])


def test_the_report_takes_released_models():
    kept = [sorted(json.loads((folder / "config.json").read_text())["training"]["recipe"]) for folder in RELEASED]
    assert sorted(roster.words("cnn", "mnist", 0)) in kept


def test_values_that_are_all_the_same_do_not_say_how_they_vary():
    alike = Finding("key", "…", [10.0] * 3, "classes", above=9, bounds=(0, 10))
    assert alike.interval == (0, 10)
    assert alike.verdict == INCONCLUSIVE
    assert alike.chances == (1, 1)
    known = Finding("key", "…", [10.0] * 3, "parameters", above=9, exact=True)
    assert known.interval == (10, 10)
    assert known.verdict == SUPPORTED


@pytest.mark.parametrize(("threshold", "expected"), [(9, SUPPORTED), (11, NOT_SUPPORTED), (10, INCONCLUSIVE)])
def test_a_single_exact_value_is_known(threshold, expected):
    known = Finding("key", "…", [10.0], "parameters", above=threshold, exact=True)
    assert known.interval == (10, 10)
    assert known.verdict == expected
    assert known.chances == {SUPPORTED: (0, 1), NOT_SUPPORTED: (1, 0), INCONCLUSIVE: (1, 1)}[expected]
    measured = Finding("key", "…", [10.0], "seconds", above=threshold)
    assert measured.interval == (-math.inf, math.inf)
    assert measured.verdict == INCONCLUSIVE


def test_the_standard_error_is_that_of_a_mean():
    assert standard_error(torch.tensor([1.0, 3.0])) == pytest.approx(1)


def test_the_error_of_the_same_images_is_that_of_their_differences():
    labels = torch.arange(1000) % 10
    first = labels.clone()
    first[:100] = -1
    second = first.clone()
    second[100:120] = -1  # what one finds difficult, the other does, too
    one, other = ([answered(guessed, labels)] for guessed in (first, second))
    assert one[0]["accuracy"] == pytest.approx(0.9)
    assert other[0]["wrong"] == list(range(120))
    adds = np.r_[np.zeros(100), np.ones(20), np.zeros(880)]
    paired = paired_error((one, 1), (other, -1))
    assert paired == pytest.approx(100 * adds.std(ddof=1) / math.sqrt(1000))
    assert paired < sampling_error([0.9], [0.88], images=1000) / 2
    assert paired_error((one, 1)) == pytest.approx(sampling_error([0.9], images=1000), rel=1e-3)
    with pytest.raises(ValueError, match="1 test images"):
        paired_error((one, 1), ([answered(labels[:1], labels[:1])], -1))
