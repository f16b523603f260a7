"""Which model to choose: a table of made-up measurements with known answers, and the command that asks it."""

import functools
import json
import math
import operator
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, command

from zoo.errors import ConfigError, DataError, ZooError
from zoo.textbook import choose, needs, words
from zoo.textbook.choose import Limits
from zoo.textbook.needs import NEEDS, nearest
from zoo.textbook.roster import CLASSIFIERS

YES = dict.fromkeys(("classify", "classify_missing", "anomaly_score", "sample", "log_prob"), "native")
CAPABILITIES = {
    "naive_bayes": YES,
    "gmm": YES,
    "hmm": YES,
    "dcgan": YES | {"classify": "no", "classify_missing": "no", "log_prob": "no"},
    "cnn": YES | {"sample": "no", "log_prob": "no", "classify_missing": "derived"},
    "rnn": YES | {"sample": "no", "log_prob": "no"},
}
# accuracies of three seeds, seconds, images/s, MiB: the CNN and the mixture are not told apart, naive Bayes is
MEASURED = {
    "naive_bayes": ((0.800, 0.801, 0.802), 2, 9000, 0.1, 90.0, "exact, binary"),
    "gmm": ((0.960, 0.962, 0.964), 30, 500, 40.0, 600.0, "exact, dequantised"),
    "hmm": ((0.860, 0.861, 0.862), 50, 300, 0.2, 400.0, "exact, dequantised"),
    "cnn": ((0.961, 0.964, 0.967), 90, 2000, 5.0, None, None),
}


def rows() -> dict[str, list[dict[str, Any]]]:
    plenty = []
    for model, (accuracies, seconds, speed, mib, log_prob, density) in MEASURED.items():
        for seed in (2, 0, 1):  # in any order
            row = {"what": "classifier", "data": "mnist", "model": model, "seed": seed, "accuracy": accuracies[seed]}
            row |= {"train_seconds": seconds, "images_per_second": speed, "file_mib": mib, "ece": 0.01}
            plenty += [row | ({"log_prob": log_prob, "density": density} if density else {})]
            plenty.append(row | {"data": "fashion_mnist", "accuracy": 0.1})
    plenty.append({"what": "samples", "data": "mnist", "model": "dcgan", "seed": 0, "frechet_ratio": 5.0})
    plenty.append({"what": "samples", "data": "mnist", "model": "gmm", "seed": 0, "frechet_ratio": math.nan})
    plenty += [
        {"what": "few", "data": "mnist", "model": model, "n": n, "seed": seed, "accuracy": accuracy + seed / 100}
        for model, by_n in {"naive_bayes": {10: 0.5, 300: 0.7}, "cnn": {10: 0.3, 300: 0.9}}.items()
        for n, accuracy in by_n.items()
        for seed in (0, 1)
    ]
    plenty += [
        {"what": "missing", "data": "mnist", "model": model, "missing": share, "seed": seed, "accuracy": accuracy}
        for model, shares in {"gmm": {50: 0.88, 90: 0.3}, "cnn": {50: 0.7}}.items()
        for share, accuracy in shares.items()
        for seed in (0, 1)
    ]
    return {"plenty_of_labels": plenty}


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return needs.table(rows(), CAPABILITIES)


def cell(table: dict[str, Any], model: str, need: str) -> dict[str, Any]:
    return table["models"][model]["needs"][need]


class TestTable:
    def test_is_plain_data(self, table):
        assert json.loads(json.dumps(table, allow_nan=False)) == table

    def test_holds_the_models_that_are_measured_in_their_order(self, table):
        assert list(table["models"]) == ["naive_bayes", "gmm", "hmm", "dcgan", "cnn"]  # not the RNN
        assert [need["key"] for need in table["needs"]] == [need.key for need in NEEDS]
        assert table["data"] == "mnist"
        assert table["models"]["gmm"]["train"] == "python train.py model=gmm data=mnist"

    def test_a_cell_has_mean_and_interval_over_seeds(self, table):
        found = cell(table, "gmm", "accuracy")
        assert found["estimate"] == pytest.approx(96.2)
        half = 4.302653 * 0.2 / math.sqrt(3)  # Student's t with 2 degrees of freedom, standard deviation 0.2
        assert found["interval"] == pytest.approx([96.2 - half, 96.2 + half], abs=1e-3)
        assert (found["unit"], found["support"], found["seeds"]) == ("%", "native", 3)
        single = cell(table, "dcgan", "sampling")
        assert (single["estimate"], single["interval"], single["seeds"]) == (5.0, None, 1)

    def test_what_is_not_measured_is_empty_and_says_whether_it_could_be(self, table):
        assert cell(table, "dcgan", "accuracy")["estimate"] is None
        assert cell(table, "dcgan", "accuracy")["support"] == "no"
        assert cell(table, "gmm", "sampling")["estimate"] is None  # NaN is no measurement
        assert cell(table, "gmm", "sampling")["support"] == "native"
        assert cell(table, "cnn", "missing")["support"] == "derived"

    def test_levels_are_kept_and_the_nearest_is_shown(self, table):
        found = cell(table, "cnn", "labels")
        assert {level: value["estimate"] for level, value in found["levels"].items()} == {"10": 30.5, "300": 90.5}
        assert found["estimate"] == 90.5
        labels = next(need for need in table["needs"] if need["key"] == "labels")
        assert (labels["levels"], labels["at"]) == ([10, 300], "300 labels")
        assert cell(table, "cnn", "missing")["estimate"] == pytest.approx(70)
        assert cell(table, "gmm", "missing")["levels"]["90"]["estimate"] == pytest.approx(30)

    def test_the_quickest_of_those_not_told_apart_is_recommended(self, table):
        (accuracy,) = table["recommendations"]["accuracy"]
        assert accuracy == {"kind": None, "best": "cnn", "equal": ["gmm", "cnn"], "choose": "gmm"}
        (training,) = table["recommendations"]["training"]  # less is better
        assert training["choose"] == "naive_bayes"
        (size,) = table["recommendations"]["size"]
        assert (size["best"], size["equal"]) == ("naive_bayes", ["naive_bayes"])
        assert table["recommendations"]["anomalies"] == []  # nothing is measured

    def test_likelihoods_of_two_kinds_are_not_compared(self, table):
        found = {one["kind"]: one for one in table["recommendations"]["density"]}
        assert found["exact, binary"]["best"] == "naive_bayes"
        assert found["exact, dequantised"]["best"] == "gmm"
        assert "hmm" not in found["exact, dequantised"]["equal"]

    def test_intervals_that_do_not_meet_are_told_apart(self):
        def row(low: float, high: float, seconds: float) -> dict[str, Any]:
            value = {"estimate": (low + high) / 2, "interval": [low, high], "seeds": 3, "kind": None}
            return {"needs": {"accuracy": value, "training": {"estimate": seconds}}}

        models = {"best": row(4, 6, 9), "meets": row(3, 4, 5), "below": row(1, 3.9, 1)}
        (found,) = needs.recommend(models, "accuracy", "more")
        assert found == {"kind": None, "best": "best", "equal": ["meets", "best"], "choose": "meets"}
        (found,) = needs.recommend(models, "accuracy", "less")
        assert found == {"kind": None, "best": "below", "equal": ["below", "meets"], "choose": "below"}

    def test_without_measurements_it_is_empty(self):
        assert needs.table({}, CAPABILITIES)["models"] == {}

    def test_every_model_of_the_report_is_a_candidate(self):
        found = needs.candidates()
        assert set(found) == {*CLASSIFIERS, "dcgan"}
        assert found["vae"]["classify"] == "native"  # the report's is conditional
        assert found["cnn"]["sample"] == "no"

    @pytest.mark.parametrize(
        ("wanted", "level"), [(100, 300), (20, 10), (54, 10), (56, 300), (1e9, 300), (0, 10), (10, 10)]
    )
    def test_nearest_in_proportion(self, wanted, level):
        """Between 10 and 300 the border is their geometric mean, 54.8."""
        assert nearest(wanted, [10, 300]) == level


class TestChoice:
    def test_one_need_ranks_by_the_mean(self, table):
        choices, excluded = choose.choose(table, ["accuracy"])
        assert [choice.model for choice in choices] == ["cnn", "gmm", "hmm", "naive_bayes"]
        assert [choice.score for choice in choices] == pytest.approx([1, 2 / 3, 1 / 3, 0])
        assert excluded == {"dcgan": ("needs", "accuracy not possible")}
        assert choices[1].reasons == {"accuracy": "accuracy 96.20 ± 0.50 % (2nd of 4)"}

    def test_several_needs_are_averaged(self, table):
        """Accuracy ranks CNN, GMM, HMM, naive Bayes; size naive Bayes, HMM, CNN, GMM."""
        choices, _ = choose.choose(table, ["accuracy", "size"])
        scores = {choice.model: choice.score for choice in choices}
        assert scores == pytest.approx({"cnn": 2 / 3, "naive_bayes": 1 / 2, "hmm": 1 / 2, "gmm": 1 / 3})
        assert [choice.model for choice in choices] == ["cnn", "naive_bayes", "hmm", "gmm"]  # a tie: by seconds

    def test_limits_exclude(self, table):
        choices, excluded = choose.choose(table, ["accuracy"], Limits(seconds=60, mib=1))
        assert [choice.model for choice in choices] == ["hmm", "naive_bayes"]
        assert [choice.score for choice in choices] == [1, 0]  # ranked among those left
        assert excluded["cnn"] == ("seconds=60", "90.00 s")
        assert excluded["gmm"] == ("mib=1", "40.00 MiB")
        choices, excluded = choose.choose(table, ["accuracy"], Limits(speed=1000, can=["log_prob"]))
        assert [choice.model for choice in choices] == ["naive_bayes"]
        assert excluded["cnn"] == ("can=log_prob", "no log_prob")
        assert excluded["hmm"] == ("speed=1000", "300.0 images/s")
        assert choose.choose(table, ["accuracy"], Limits(seconds=90))[0][0].model == "cnn"  # at most, not below

    def test_a_level_is_asked_at_the_nearest(self, table):
        few, _ = choose.choose(table, ["labels"], levels={"labels": 20})
        many, _ = choose.choose(table, ["labels"], levels={"labels": 1000})
        assert [choice.model for choice in few] == ["naive_bayes", "cnn"]
        assert [choice.model for choice in many] == ["cnn", "naive_bayes"]

    def test_density_ranks_within_its_kind(self, table):
        choices, _ = choose.choose(table, ["density"])
        assert {choice.model: choice.score for choice in choices} == {"naive_bayes": 1, "gmm": 1, "hmm": 0}

    def test_nothing_left_says_which_limit_excluded_which(self, table):
        with pytest.raises(ZooError) as error:
            choose.choose(table, ["accuracy"], Limits(seconds=1, can=["sample"]))
        text = str(error.value)
        assert "excluded by seconds=1: naive_bayes (2.00 s), gmm (30.00 s), hmm (50.00 s)" in text
        assert "excluded by can=sample: cnn (no sample)" in text
        assert "excluded by needs: dcgan (accuracy not possible)" in text

    @pytest.mark.parametrize(
        ("needs", "limits", "message"),
        [
            (["acuracy"], Limits(), "unknown need 'acuracy': did you mean 'accuracy'"),
            (["accuracy"], Limits(can=["samples"]), "unknown capability 'samples': did you mean 'sample'"),
            ([], Limits(), "no need is named"),
        ],
    )
    def test_mistakes_are_told(self, table, needs, limits, message):
        with pytest.raises(ConfigError, match=message):
            choose.choose(table, needs, limits)

    @pytest.mark.parametrize(
        ("estimate", "interval", "text"),
        [
            (98.374, [98.25, 98.5], "98.37 ± 0.12 %"),
            (98.374, None, "98.37 %"),
            (1234.5, [1134.5, 1334.5], "1,230 ± 100 %"),
            (385610, [370178, 401042], "386,000 ± 15,000 %"),
            (-0.5, [-0.55, -0.45], "−0.500 ± 0.050 %"),
            (0.0123, None, "0.0123 %"),
            (0.0, None, "0.00 %"),
        ],
    )
    def test_spelled(self, estimate, interval, text):
        assert words.spelled({"estimate": estimate, "interval": interval, "unit": "%"}) == text


@pytest.fixture(scope="module")
def path(table, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "models.json"
    path.write_text(json.dumps(table))
    return path


class TestCommand:
    def test_answers_within_80_columns(self, path):
        done = command("scripts/choose.py", f"from={path.parent}", "needs=accuracy,size", "labels=20", "seconds=95")
        assert done.returncode == 0, done.stderr
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
        assert "few labels 50.5" in done.stdout
        assert "few labels: 20 was not measured; nearest is 10" in done.stdout
        assert "excluded by needs: gmm (labels not measured)" in done.stdout
        assert done.stdout.splitlines()[-1] == "python train.py model=naive_bayes data=mnist"

    def test_answers_as_json(self, path, tmp_path):
        done = command("scripts/choose.py", f"from={path}", "missing=0.5", "json=-")
        found = json.loads(done.stdout)
        assert found["needs"] == ["missing"]
        assert [choice["model"] for choice in found["ranking"]] == ["gmm", "cnn"]
        assert found["excluded"]["hmm"] == "needs: missing not measured"

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["needs=acuracy"], "error: unknown need 'acuracy': did you mean 'accuracy'?"),
            (["seconds=0.5"], "error: no model is left"),
            (["accuracy"], "error: 'accuracy' is not key=value; needs are given as needs=accuracy"),
            (["from=none.json"], "error: none.json is no table of models"),
            (["json=nowhere/answer.json"], "error: json=nowhere/answer.json: the folder nowhere does not exist"),
            (["labels=many"], "error: labels=many: a whole number is needed\n"),  # the default, 0, is no example
            (["mising=0.5"], "error: unknown key 'mising': did you mean 'missing'?"),
        ],
    )
    def test_mistakes_end_with_status_2(self, path, words, message, monkeypatch, capsys):
        sys.path.insert(0, str(ROOT / "scripts"))
        try:
            import choose as script
        finally:
            sys.path.remove(str(ROOT / "scripts"))
        monkeypatch.setattr(sys, "argv", ["choose.py", f"from={path}", *words])
        with pytest.raises(SystemExit) as stop:
            script.main()
        assert stop.value.code == 2
        assert message in capsys.readouterr().err

    def test_help_is_narrow_and_names_every_need(self):
        text = command("scripts/choose.py", "--help").stdout
        assert all(len(line) <= 80 for line in text.splitlines())
        assert all(f"\n          {need.key} " in text for need in NEEDS)

    @pytest.mark.parametrize(
        "removed",
        [
            "data", "needs", "models", "recommendations", "needs 1 better", "models cnn needs",
            "models cnn train", "models cnn needs training", "models cnn needs size estimate",
        ],
    )  # fmt: skip
    def test_an_incomplete_table_is_told(self, table, removed, tmp_path):
        found = json.loads(json.dumps(table))
        *keys, last = (int(key) if key.isdigit() else key for key in removed.split())
        del functools.reduce(operator.getitem, keys, found)[last]
        (tmp_path / "models.json").write_text(json.dumps(found))
        with pytest.raises(DataError, match="no table of models; python scripts/compare"):
            choose.read(tmp_path)

    @pytest.mark.parametrize("empty", [[], {}, {"needs": [], "models": {}, "recommendations": {}, "data": "mnist"}])
    def test_no_table_is_told(self, empty, tmp_path):
        (tmp_path / "models.json").write_text(json.dumps(empty))
        with pytest.raises(DataError, match="no table of models"):
            choose.read(tmp_path)

    def test_answering_needs_no_torch(self, path):
        code = "import sys; from pathlib import Path; from zoo.textbook import choose\n"
        code += "choose.choose(choose.read(Path(sys.argv[1])), ['accuracy']); sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT).returncode == 0


def test_anomalies_count_by_the_direction_that_is_told_worse():
    found = [
        {"what": "anomalies", "data": data, "model": model, "seed": seed, "auroc": area + seed / 100}
        for model, areas in (("vae", (0.9, 0.7)), ("cnn", (0.5, 0.8)))
        for data, area in zip(("fashion_mnist", "mnist"), areas, strict=True)
        for seed in (0, 1)
    ]
    half = [{**found[0], "model": "gmm"}]  # in one direction alone
    (need,) = (need for need in NEEDS if need.key == "anomalies")
    assert need.read(found + half, "mnist") == {"vae": {0.0: [0.7, 0.71]}, "cnn": {0.0: [0.5, 0.51]}}
