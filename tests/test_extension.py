"""A new model, source, kind or question is a file of its own: a copy of the package gets one of each, and nothing else.

They are found by commands and tests, and everything that was there before is as it was.
"""

import hashlib
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, command

MODEL = '''
"""Nearest mean: a Gaussian of unit variance per class, whose mean a gradient finds."""

import math

import torch
import zoo
from torch import nn


@zoo.register("nearest_mean")
class NearestMean(zoo.Density):
    takes = ("grey", "real")
    learns_from_gaps = True

    def __init__(self, spec, scale=1.0):
        super().__init__(spec, conditional=True)
        self.density = zoo.Likelihood("exact", "continuous")
        self.scale = scale
        self.means = nn.Parameter(0.1 * torch.randn(self.groups, math.prod(spec.shape)))

    def log_prob_of(self, x, group, observed=None):
        normal = torch.distributions.Normal(self.means[group], self.scale)
        terms = normal.log_prob(x.flatten(1))
        return terms.sum(1) if observed is None else torch.where(observed.flatten(1), terms, 0).sum(1)

    def depth(self, x):
        return -(x.flatten(1)[:, None].nan_to_num(0) - self.means).abs().amax(2).amin(1)
'''
YAML = """
defaults: [{override /learner@_global_.learner: likelihood}]
name: nearest_mean
scale: 1.0 # standard deviation
"""
KIND = '''
"""Spins: int8 +1 or -1, 0 where none was measured; a model sees numbers."""

import torch

from zoo.data import kinds
from zoo.data.kinds.table import FORMAT, SETTINGS, find_files, read, show, write  # files are tables, too
from zoo.spec import DataSpec

VALUES = "real"
OPTIONS = {}
NOUN = "chain"
STRINGS = False


def fit(raw, columns, unused=(), like=None):
    mean, std = statistics(raw)
    return {"shape": tuple(raw.shape[1:]), "mean": mean, "std": std, "values": VALUES}


def store(raw, columns, spec):
    return raw


def decode(stored):
    x = stored.float()
    return torch.where(x == 0, torch.nan, x)


def convert(values, spec):
    x = kinds.tensor(values, spec)
    return x if x.is_floating_point() else decode(x)


def encode(x):
    return x.sign().to(torch.int8)


def statistics(stored, spec=None):
    return (0.0,) * stored[0].numel(), (1.0,) * stored[0].numel()


def has_missing(stored):
    return bool((stored == 0).any())


def trial(n):
    stored = torch.randint(-1, 2, (n, 1, 1, 6), generator=torch.Generator().manual_seed(0)).to(torch.int8)
    mean, std = statistics(stored)
    return stored, DataSpec((1, 1, 6), 3, mean=mean, std=std, kind="spins", values=VALUES, missing=True)
'''
SOURCE = '''
"""Chains of spins that mostly point up, or mostly down."""

import torch

from zoo.data.splits import Loaded, Split

KIND = "spins"
CLASSES = ("up", "down")
OPTIONS = {}


def load(root):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(400) % 2
    flipped = torch.rand(400, 1, 1, 6, generator=generator) < 0.15
    spins = torch.where(flipped, -1, 1) * (1 - 2 * labels)[:, None, None, None]
    spins[torch.rand(spins.shape, generator=generator) < 0.1] = 0
    return Loaded(Split(spins.to(torch.int8), labels, KIND))
'''
QUESTION = '''
"""How deep an example lies in the data."""

import torch

from zoo.capability import Capability, ask, given, native, require


def depth(model, x):
    """``(B,)``, higher is deeper."""
    require(model, "depth")
    x, observed = given(model, x)
    if observed is None:
        return ask(model, model.depth, x)
    return ask(model, lambda part, seen: model.depth(part.where(seen, torch.nan)), x, observed)


ASKED = {"depth": Capability(native("depth"), lambda model, x, _: depth(model, x), ("B",), "tell a depth")}
'''
ADDED = {
    "zoo/models/nearest_mean.py": MODEL,
    "configs/model/nearest_mean.yaml": YAML,
    "zoo/data/kinds/spins.py": KIND,
    "zoo/data/sources/spin_chains.py": SOURCE,
    "zoo/questions/depth.py": QUESTION,
}


def digests(folder: Path) -> dict[str, str]:
    """The content of every file that is no cache."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A copy of the package, its settings and its tests, with the new files."""
    copy = tmp_path_factory.mktemp("house") / "copy"
    for name in ("zoo", "configs", "scripts", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "kept")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("train.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy / name)
    before = digests(copy)
    for name, content in ADDED.items():
        assert name not in before
        (copy / name).write_text(content.lstrip())
    assert {name: digest for name, digest in digests(copy).items() if name not in ADDED} == before
    return copy


def run(house: Path, *words: str) -> str:
    done = command(*words, root=house)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_all_four_are_found_and_work_together(house):
    words = ("data=spin_chains", "data.val_size=40", "trainer.max_epochs=30", "logger=none", "runs=runs")
    printed = run(house, "train.py", "model=nearest_mean", "learner.optimizer.lr=0.05", *words)
    accuracy = float(printed.partition("test accuracy ")[2].partition("%")[0])
    assert accuracy > 90  # six spins, of which one in seven is wrong and one in ten is missing
    (ckpt,) = (house / "runs").glob("*/best.ckpt")
    code = (
        "import sys, zoo, torch\n"
        "model = zoo.load(sys.argv[1])\n"
        "up = torch.ones(1, 1, 1, 6)\n"
        "assert model.spec.kind == 'spins' and model.spec.missing\n"
        "assert zoo.depth(model, up) > zoo.depth(model, 5 * up)\n"
        "print(zoo.capabilities('nearest_mean'))\n"
        "up[..., :5] = torch.nan\n"
        "print(zoo.classify(model, up).exp().tolist())\n"
    )
    table = run(house, "-c", code, str(ckpt))
    assert "| depth" in table
    assert table.splitlines()[2].startswith("| nearest_mean")
    run(house, "train.py", "model=logistic_regression", *words)  # a model that was there takes the new kind
    assert "spin_chains" in run(house, "train.py", "--help")
    assert "nearest_mean" in run(house, "train.py", "--help")


def test_they_are_tested_by_being_there(house):
    """The contract test asks the new model everything, and tries every model on the new kind."""
    chosen = "nearest_mean and not resumed or kind and (spins or some_model)"
    pytest_main = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    printed = run(house, "-c", pytest_main, "-n0", "tests/test_contract.py", "-k", chosen, "-rp")
    passed = {line.partition("::")[2] for line in printed.splitlines() if line.startswith("PASSED")}
    assert {
        "test_every_kind_is_learnt_or_refused_in_a_sentence[nearest_mean-spins]",
        "test_every_kind_is_learnt_or_refused_in_a_sentence[nearest_mean-image]",
        "test_every_kind_is_learnt_or_refused_in_a_sentence[cnn-spins]",
        "test_gradient_reaches_every_parameter[nearest_mean]",
        "test_saved_and_loaded_is_the_same[nearest_mean]",
        "test_capabilities_hold[nearest_mean]",
        "test_yaml_is_the_constructor[nearest_mean]",
    } <= passed
