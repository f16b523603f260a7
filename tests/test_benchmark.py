"""What a benchmark measures, judges and keeps, and that both sides of a comparison do the same work."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import math
import subprocess
import sys
import types
from dataclasses import replace
from unittest import mock

import pytest
import torch
from conftest import ROOT

import zoo
from zoo.benchmarks import DEFAULT, SUITES, _data, _results, accuracy, gpu
from zoo.benchmarks._benchmark import Benchmark, Options, measure
from zoo.data.batches import Batches
from zoo.data.splits import Split
from zoo.errors import ConfigError, ZooError
from zoo.learners import _compile

pytestmark = pytest.mark.usefixtures("one_thread")

HERE = {
    "machine": {"device": "cpu", "gpu": None, "cpu": "Fast(R) CPU @ 2.00GHz", "cpus": 2, "threads": 1, "system": "L"},
    "versions": {"torch": "2.99"},
    "revision": "abc",
}


@pytest.fixture(autouse=True)
def _nothing_to_collect(monkeypatch):
    """What is measured here leaves little behind, and to look through all that has been imported takes its time."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)


def fixed(**values: float) -> dict:
    """Ways that always give the same value."""
    return {way: lambda _, value=value: value for way, value in values.items()}


# Measuring


def test_the_ways_take_turns_and_the_first_round_is_not_counted():
    calls = []
    slow, fast = iter([99.0, 2.0, 8.0, 30.0]), iter([99.0, 1.0, 2.0, 3.0])

    def way(name, values):
        return lambda number: calls.append((name, number)) or next(values)

    said = []
    benchmark = Benchmark("b", "t", "s", {"slow": way("slow", slow), "fast": way("fast", fast)})
    result = measure(benchmark, 3, said.append)
    assert calls == [(name, number) for number in (0, 0, 1, 2) for name in ("slow", "fast")]
    assert said[0] == "b: slow, warming up"
    assert said[-1] == "b: fast, round 3 of 3"
    assert result["ways"]["slow"]["values"] == [2.0, 8.0, 30.0]
    assert result["ways"]["fast"]["median"] == 2.0
    assert (result["ways"]["slow"]["min"], result["ways"]["slow"]["max"]) == (2.0, 30.0)
    # of the rounds 2, 4 and 10; the ratio of the medians is 4, too, that of the means is not
    assert result["ways"]["fast"]["ratio"] == 4.0
    assert result["ways"]["slow"]["ratio"] == 1.0


def test_ratios_are_of_a_round_not_of_the_medians():
    first, second = iter([1.0, 10.0, 100.0]), iter([2.0, 30.0, 50.0])
    ways = {"a": lambda _: next(first), "b": lambda _: next(second)}
    result = measure(Benchmark("b", "t", "s", ways, compare="overhead", warmup=False), 3)
    assert result["ways"]["b"]["ratio"] == 2.0  # of 2, 3 and ½; the medians have 3


@pytest.mark.parametrize(
    ("unit", "compare", "ratio"),
    [
        ("s", "speedup", 4.0),
        ("s/epoch", "speedup", 4.0),
        ("s", "overhead", 0.25),
        ("MiB", "overhead", 0.25),
        ("images/s", "speedup", 0.25),
        ("images/s", "overhead", 4.0),
        ("s", "none", None),
    ],
)
def test_rates_and_times_are_compared_the_right_way_round(unit, compare, ratio):
    result = measure(Benchmark("b", "t", unit, fixed(first=8.0, other=2.0), compare=compare), 1)
    assert result["ways"]["other"]["ratio"] == ratio


@pytest.mark.parametrize(
    ("bar", "met"), [("≥ 4", True), ("≥ 4.1", False), ("≤ 4", True), ("≤ 3.9", False), (None, None)]
)
def test_a_bar_is_met_from_its_own_side(bar, met):
    benchmark = Benchmark("b", "t", "s", fixed(peer=8.0, ours=2.0), bar=bar, ours="ours")
    assert measure(benchmark, 1)["met"] is met


def test_all_of_ours_have_to_reach_the_bar_and_to_mean_something():
    ways = fixed(first=9.0, quick=0.4, slow=0.7)
    assert measure(Benchmark("b", "t", "s", ways, "none", "≤ 0.6", "quick"), 1)["met"] is True
    both = Benchmark("b", "t", "s", ways, "none", "≤ 0.6", ("quick", "slow"))
    assert measure(both, 1)["met"] is False
    assert measure(replace(both, bar="≤ 0.7"), 1)["met"] is True
    untrue = replace(both, bar="≤ 0.7", facts={"slow": {"reached": False}})
    assert measure(untrue, 1)["met"] is False
    assert measure(untrue, 1)["ways"]["slow"]["facts"] == {"reached": False}


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_value_that_cannot_be_is_an_error(value):
    with pytest.raises(ZooError, match="b: other gave"):
        measure(Benchmark("b", "t", "s", fixed(first=1.0, other=value)), 1)


@pytest.mark.parametrize(
    "wrong",
    [{"compare": "faster"}, {"ours": "nobody"}, {"x": {"nobody": 1.0}}, {"bar": "≥ 1"}, {"bar": "1", "ours": "a"}],
)
def test_a_benchmark_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(ValueError, match=r"b: |a bar is"):
        Benchmark("b", "t", "s", fixed(a=1.0), **wrong)


def test_options_choose_models_and_rounds():
    assert Options().chosen(["a", "b"], ["a", "b", "c"]) == ["a", "b"]
    assert Options(models=("c", "d", "a")).chosen(["a", "b"], ["a", "b", "c"]) == ["c", "a"]
    assert Options(models=("d",)).chosen(["a"]) == []
    benchmark = Benchmark("b", "t", "s", fixed(a=1.0), rounds=5)
    assert [Options(None, *rest).rounds_of(benchmark) for rest in [(False, 0), (True, 0), (True, 4)]] == [5, 2, 4]


# Results


def entry(**changes) -> dict:
    benchmark = Benchmark("b", "t", "s", fixed(first=8.0, ours=2.0), bar="≥ 3", ours="ours")
    return {**measure(replace(benchmark, **changes), 1), "command": "python scripts/benchmark.py", "threads": 1}


def test_results_are_added_to_those_that_are_there(tmp_path):
    path = tmp_path / "results" / "benchmark.json"
    _results.add(path, "one", entry(), HERE)
    _results.add(path, "two", entry(title="second"), {**HERE, "revision": "def"})
    again = _results.add(path, "two", entry(title="third"), {**HERE, "revision": "ghi", "versions": {"torch": "3.0"}})
    assert json.loads(path.read_text()) == again
    assert list(again["benchmarks"]) == ["one", "two"]
    assert (again["format"], again["revision"]) == (1, "ghi")
    one, two = again["benchmarks"].values()
    assert (one["revision"], one["versions"]) == ("abc", {"torch": "2.99"})
    assert (two["title"], two["revision"], two["versions"]) == ("third", "ghi", {"torch": "3.0"})
    assert one["ways"]["ours"] == {"values": [2.0], "median": 2.0, "min": 2.0, "max": 2.0, "ratio": 4.0, "facts": {}}
    assert (one["met"], one["ours"], one["rounds"]) == (True, ["ours"], 1)


def test_results_of_another_machine_or_kind_stay_as_they_are(tmp_path):
    path = tmp_path / "benchmark.json"
    _results.add(path, "one", entry(), HERE)
    before = path.read_text()
    other = {**HERE, "machine": {**HERE["machine"], "cpus": 64}}
    with pytest.raises(ConfigError, match="another machine: give another file"):
        _results.add(path, "two", entry(), other)
    assert path.read_text() == before
    _results.read(path, {**HERE["machine"], "threads": 7})  # another number of threads is the same machine
    for text in ("{", "[]", '{"format": 2}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"benchmark\.json (is no JSON|does not hold)"):
            _results.add(path, "two", entry(), HERE)
        assert path.read_text() == text


@pytest.mark.parametrize(
    ("cpu", "gpu", "expected"),
    [
        ("Intel(R) Xeon(R) Processor @ 2.80GHz", None, "intel-xeon-2.80ghz-2cpu"),
        ("AMD EPYC 7B13 64-Core Processor", None, "amd-epyc-7b13-64-core-2cpu"),
        ("whatever", "NVIDIA H100 80GB HBM3", "nvidia-h100-80gb-hbm3"),
    ],
)
def test_a_machine_has_a_name_that_fits_a_path(cpu, gpu, expected):
    assert _results.slug({"cpu": cpu, "gpu": gpu, "cpus": 2}) == expected


def test_the_description_names_no_host():
    described = _results.describe(torch.device("cpu"))
    assert described["machine"]["cpus"] >= 1
    assert {*described["machine"]} == {"device", "gpu", "cpu", "cpus", "threads", "system"}


# The command


@pytest.fixture
def script(monkeypatch):
    """``scripts/benchmark.py`` as a function of its words, with the suite ``fake`` alone."""
    module = importlib.import_module("zoo.commands.benchmark")
    seen = []

    def benchmarks(options):
        seen.append(options)
        ways = fixed(peer=8.0, ours=2.0, **{"a way whose name is as long as any that we have": 123456.0})
        title = "two ways to wait, one of which has a title that does not fit into a line of the table"
        yield Benchmark("fake-a", title, "s", ways, "speedup", "≥ 3", "ours")
        yield Benchmark("fake-b", "t", "s", fixed(peer=2.0, ours=3.0), "overhead", "≤ 1.25", "ours")
        for name in ("c", "d"):
            x = {"peer": 1.0, "ours": 2.0}
            yield Benchmark(f"fake-{name}", name, "s/step", fixed(peer=1.0, ours=2.0), "none", x=x, x_label="width")
        facts = {"flop": 1e6, "bytes": 1e5, "peak_flop": 1e11, "peak_bytes": 1e10, "roofline": 0.01}
        yield Benchmark("fake-e", "e", "images/s", fixed(train=1000.0), "none", facts={"train": facts})

    fake = types.ModuleType("zoo.benchmarks.fake")
    fake.benchmarks = benchmarks
    monkeypatch.setitem(sys.modules, "zoo.benchmarks.fake", fake)
    monkeypatch.setattr(module, "SUITES", {"fake": "for the test"})
    monkeypatch.setattr("zoo.run.machine.prepare", lambda device: None)

    def run(*words: str) -> list[Options]:
        monkeypatch.setattr(sys, "argv", ["scripts/benchmark.py", "suite=fake", *words])
        module.main()
        return seen

    return run


def test_the_command_measures_shows_keeps_and_draws(script, tmp_path, capsys):
    out = tmp_path / "results.json"
    assert script(f"out={out}", "rounds=2", "models=cnn,tiny") == [Options(("cnn", "tiny"), False, 2)]
    kept = json.loads(out.read_text())["benchmarks"]
    assert list(kept) == ["fake-a", "fake-b", "fake-c", "fake-d", "fake-e"]
    assert kept["fake-a"]["rounds"] == 2
    assert kept["fake-a"]["command"].startswith("python scripts/benchmark.py suite=fake out=")
    assert kept["fake-a"]["threads"] == torch.get_num_threads()
    assert (kept["fake-a"]["met"], kept["fake-b"]["met"], kept["fake-c"]["met"]) == (True, False, None)
    panels = {file.name for file in tmp_path.glob("*.png")}
    assert panels == {f"results-{panel}.png" for panel in ("speedup", "overhead", "s-step-by-width", "roofline")}
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in tmp_path.glob("*.png"))
    shown = capsys.readouterr().out
    assert "4× (bar ≥ 3: met)" in shown
    assert "1.500× (bar ≤ 1.25: missed)" in shown
    assert "1.0%" in shown  # of the roofline
    assert max(len(line) for line in shown.splitlines() if str(tmp_path) not in line) <= 80


def test_a_quick_run_judges_nothing_and_leaves_nothing(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert script("quick=true")[0].quick
    assert list(tmp_path.iterdir()) == []
    assert "bar" not in capsys.readouterr().out
    script("quick=true", "out=kept.json", "plot=false")
    assert [file.name for file in tmp_path.iterdir()] == ["kept.json"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("suite=loadr", "unknown suite 'loadr': did you mean 'loader'?"),
        ("suite=loader,epochs", "unknown suite 'epochs': did you mean 'epoch'?"),
        ("models=cn", "unknown model 'cn': did you mean 'cnn'"),
        ("modles=cnn", "unknown key 'modles': did you mean 'models'"),
        ("loader", "'loader' is no key=value: suites are given as suite=loader,epoch"),
        ("rounds=-1", "rounds=-1: must be in [0, inf)"),
    ],
)
def test_a_wrong_word_is_answered_without_torch(word, message):
    done = without_torch(word)
    assert message in done.stderr
    assert done.returncode == 2
    assert "TORCH" not in done.stdout


def test_help_names_every_suite_without_torch():
    done = without_torch("--help")
    assert done.returncode == 0
    assert "TORCH" not in done.stdout
    assert all(f"\n  {suite} " in done.stdout for suite in SUITES)
    assert {*DEFAULT} <= {*SUITES}
    assert max(map(len, done.stdout.splitlines())) <= 120


def without_torch(word: str):
    """The command with one word, in a process that prints ``TORCH`` at its end if that was imported."""
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('TORCH' if 'torch' in sys.modules else 'quick'))\n"
        f"sys.argv = ['scripts/benchmark.py', {word!r}]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


# The suites


@pytest.mark.parametrize(
    ("suite", "models", "expected"),
    [
        ("loader", None, {"loader": "≥ 100"}),
        ("epoch", ("tiny",), {"epoch-tiny": "≤ 1.2"}),
        ("template", ("tiny",), {"template": "≥ 8"}),
        ("examples", ("vae", "dcgan"), {"examples-vae": "≥ 3", "examples-dcgan": "≥ 1.3"}),
        ("em", ("gmm", "hmm"), {"em-gmm": None, "em-hmm": None}),
        ("compile", ("tiny",), {"compile-tiny": None}),
        ("gpu", ("tiny", "dcgan"), {"gpu-template": "≥ 8", "gpu-sampling": None}),
    ],
)
def test_the_suites_run(suite, models, expected, real_data, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(real_data))
    monkeypatch.setattr(_compile, "COMPILER", {"backend": "aot_eager", "fullgraph": True})  # needs no compiler of C++
    bars = {}
    for benchmark in importlib.import_module(f"zoo.benchmarks.{suite}").benchmarks(Options(models, quick=True)):
        bars[benchmark.name] = benchmark.bar
        result = measure(replace(benchmark, warmup=False), 1)
        assert all(0 < way["median"] < math.inf for way in result["ways"].values())
        assert next(iter(result["ways"].values()))["ratio"] == (None if benchmark.compare == "none" else 1)
        assert set(benchmark.of_ours) <= {*benchmark.ways} - {next(iter(benchmark.ways))}
    assert bars == expected


def test_a_gpu_is_not_measured_where_there_is_none(monkeypatch):
    monkeypatch.setattr(gpu, "device", lambda: torch.device("cpu"))
    with pytest.raises(ConfigError, match="suite=gpu measures a GPU, and there is none"):
        next(gpu.benchmarks(Options()))


def test_the_recipes_of_the_gpu_are_there(monkeypatch):
    monkeypatch.setattr(accuracy, "run_recipe", mock.Mock())
    names = [benchmark.name for benchmark in gpu.benchmarks(Options(tuple(gpu.RECIPES), quick=True))]
    assert names == [f"gpu-accuracy-{name}" for name in gpu.RECIPES]
    for name in gpu.RECIPES:
        accuracy.check(f"speed/{name}")


def test_models_that_a_suite_does_not_know_are_left_out():
    for suite in ("template", "examples", "em"):
        assert list(importlib.import_module(f"zoo.benchmarks.{suite}").benchmarks(Options(("cnn",)))) == []


def test_the_peers_data_set_gives_what_the_zoo_gives():
    split = images(5)
    x, labels = next(iter(_data.torchvision_loader(split, 5, shuffle=False, normalized=False)))
    assert torch.equal(x, split.images / 255)
    assert torch.equal(labels, split.labels)
    normalized, _ = next(iter(_data.torchvision_loader(split, 5, shuffle=False)))
    torch.testing.assert_close(normalized, (split.images / 255 - 0.1307) / 0.3081)

    from zoo.benchmarks.loader import Batched

    batch, of_batch = Batched(split).__getitems__([3, 1])
    torch.testing.assert_close(batch, normalized[[3, 1]])
    assert torch.equal(of_batch, labels[[3, 1]])


def test_a_loader_is_rated_by_the_images_it_gives():
    from zoo.benchmarks.loader import rate

    batches = Batches(images(50), 16, shuffle=True)
    seen = []
    rate(batches, 2, lambda x: seen.append(len(x)))
    assert sum(seen) == 100


def images(count: int) -> Split:
    generator = torch.Generator().manual_seed(5)
    pixels = torch.randint(256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
    return Split(pixels, torch.arange(count) % 10)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlp", {"hidden_sizes": [64, 128, 64]}),
        ("cnn", {"channels": [4, 8]}),
        ("svm", {"num_features": 32}),
        ("vae", {"hidden_sizes": [32], "importance_samples": 2}),
        ("vae", {"hidden_sizes": [32], "conditional": True, "warmup": 2.0}),
        ("gmm", {"num_components": 2, "pca": 4, "covariance": "diag"}),
        ("dcgan", {"channels": 8}),
        ("dcgan", {"channels": 8, "conditional": True, "loss": "hinge"}),
    ],
)
def test_both_sides_of_an_epoch_do_the_same_work(name, options):
    """The hand-written loop and the learner bring the same weights to the same place."""
    from zoo.benchmarks import _loops, _trainer, epoch

    train, val = Batches(images(160), 32, shuffle=True, seed=1), Batches(images(20), 16)
    torch.manual_seed(0)
    by_hand = zoo.create(name, zoo.DataSpec(mean=(0.5,), std=(0.3,)), **options)
    by_learner, under_trainer = copy.deepcopy(by_hand), copy.deepcopy(by_hand)
    before = copy.deepcopy(by_hand.state_dict())
    torch.manual_seed(2)
    assert _loops.loop_for(by_hand)(by_hand, train, val) > 0
    torch.manual_seed(2)
    assert _trainer.epoch(_trainer.learner_for(by_learner), train, val) > 0
    after, others = by_hand.state_dict(), by_learner.state_dict()
    torch.testing.assert_close(after, others, rtol=1e-5, atol=1e-6)
    if name == "mlp":
        torch.manual_seed(2)
        assert epoch.floor(under_trainer, train, val) > 0
        torch.testing.assert_close(after, under_trainer.state_dict(), rtol=1e-5, atol=1e-6)
    trained = [key for key, _ in by_hand.named_parameters()]
    assert any(not torch.equal(after[key], before[key]) for key in trained)
