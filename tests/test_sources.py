"""Sources of data: found by their file's name, all with the same interface, and one file is enough for a new one."""

import inspect
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
import yaml
from conftest import CONFIGS, ROOT, command, run_train
from sklearn.datasets import load_breast_cancer

import zoo
from zoo import found
from zoo.__main__ import main as zoo_command
from zoo.config import settings
from zoo.data import kinds, sources
from zoo.data.splits import Loaded, Split, load_splits

SOURCE = '''
"""Dark and light squares."""
import torch
from zoo.data.splits import Loaded, Split

KIND = "image"
CLASSES = ("dark", "light")
OPTIONS = {}

def load(root):
    labels = torch.arange(60) % 2
    noise = torch.randint(100, (60, 1, 6, 6), generator=torch.Generator().manual_seed(0))
    return Loaded(Split((noise + 150 * labels[:, None, None, None]).byte(), labels))
'''


@pytest.mark.parametrize("name", sources.every())
def test_every_source_has_the_interface(name):
    source = sources.find(name)
    assert source.KIND in kinds.names()
    assert source.CLASSES is None or all(isinstance(entry, str) for entry in source.CLASSES)
    parameters = inspect.signature(source.load).parameters
    assert list(parameters) == ["root", *source.OPTIONS]
    assert all(parameter.default is parameter.empty for parameter in parameters.values())  # OPTIONS has the defaults
    assert source.__doc__


@pytest.mark.parametrize("name", sources.every())
def test_options_that_can_be_set_stand_in_a_yaml(name):
    options = sources.find(name).OPTIONS
    file = CONFIGS / "data" / f"{name}.yaml"
    values = yaml.safe_load(file.read_text()) if file.is_file() else {}
    base = yaml.safe_load((CONFIGS / "data" / "_base.yaml").read_text())
    for above in values.get("defaults", []):
        if above not in ("_self_", "_base"):
            values = yaml.safe_load((CONFIGS / "data" / f"{above}.yaml").read_text()) | values
    assert {key: values[key] for key in options} == options
    of_kind = kinds.find(sources.find(name).KIND).OPTIONS
    assert set(values) <= {*options, *of_kind, *base, "defaults", "name"}


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "grammar"])
def test_load_gives_what_its_kind_holds(name, tmp_path):
    source = sources.find(name)
    loaded = source.load(tmp_path, **source.OPTIONS)
    assert isinstance(loaded, Loaded)
    assert loaded.train.images.dim() == 4
    assert loaded.train.labels.dtype == torch.int64
    assert set(loaded.train.labels.tolist()) == set(range(len(source.CLASSES)))
    assert not list(tmp_path.iterdir())


def test_names_are_listed_without_an_import():
    code = (
        "import sys; from zoo import config; from zoo.data import sources; sources.check('mnist')\n"
        "assert not {'torch', 'lightning', 'zoo.data.sources.mnist'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_an_unknown_source_is_named():
    with pytest.raises(zoo.ConfigError, match="unknown data 'mnits': did you mean 'mnist'"):
        sources.check("mnits")
    with pytest.raises(zoo.ConfigError, match="unknown data '_base'"):
        sources.find("_base")


def test_what_starts_with_an_underscore_is_not_found(tmp_path, monkeypatch):
    (tmp_path / "some" / "package").mkdir(parents=True)
    for name in ("b.py", "a.py", "_c.py", "__init__.py", "d.txt"):
        (tmp_path / "some" / "package" / name).touch()
    monkeypatch.setattr(found, "_HOME", tmp_path)
    assert found.names("some.package") == ["a", "b"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the program in which one file was added: ``zoo/data/sources/squares.py``."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "zoo", folder / "zoo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copy(ROOT / "train.py", folder)
    (folder / "zoo" / "data" / "sources" / "squares.py").write_text(SOURCE)
    return folder


def run(copy, *words):
    return command(*words, root=copy)


def test_a_file_is_a_source(copy):
    """It is listed, hinted at, trains, and what it trained is evaluated; no other file was edited."""
    trained = run(
        copy, "train.py", "data=squares", "model=logistic_regression", "data.val_size=8", "trainer.max_epochs=5",
        "trainer.accelerator=cpu", "logger=none", "runs=runs",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert "test accuracy 100.00%" in trained.stdout
    (folder,) = (copy / "runs").iterdir()
    spec = zoo.load(folder).spec
    assert (spec.shape, spec.class_names, spec.kind) == ((1, 6, 6), ("dark", "light"), "image")
    evaluated = run(copy, "scripts/evaluate.py", f"ckpt={folder}", "data=squares", "samples=0")
    assert "accuracy 100.00%" in evaluated.stdout, evaluated.stderr
    assert "squares" in run(copy, "train.py", "--help").stdout.partition("\nmodel:")[0]
    assert "did you mean 'squares'" in run(copy, "train.py", "data=squars").stderr
    assert "did you mean 'data.val_size'" in run(copy, "train.py", "data=squares", "data.val_siz=1").stderr
    assert (
        "sms_spam, spoken_digits, squares, table"
        in run(copy, "scripts/evaluate.py", f"ckpt={folder}", "data=squars").stderr
    )


def test_a_source_without_a_yaml_composes_outside_of_train():
    values = settings(["data=mnist", "model=mlp"], CONFIGS)["data"]
    assert (values["name"], values["val_size"]) == ("mnist", 5000)


def test_breast_cancer_is_scikit_learns():
    splits, table = load_splits("breast_cancer"), load_breast_cancer()
    assert (len(splits.train), len(splits.test)) == (455, 114)
    stored = torch.cat([splits.train.images, splits.test.images])
    rows = kinds.find("table").cells(stored, splits.spec).to_numpy()
    order, wanted = np.lexsort(rows.T), table.data[np.lexsort(table.data.T)]
    np.testing.assert_allclose(rows[order], wanted, rtol=1e-4, atol=1e-5)
    spec = splits.spec
    assert (spec.shape, spec.kind, spec.values, spec.missing) == ((1, 1, 30), "table", "real", False)
    assert [column.name for column in spec.columns] == table.feature_names.tolist()
    assert spec.class_names == tuple(table.target_names)
    assert splits.train.kind == splits.val.kind == splits.test.kind == "table"


def test_breast_cancer_trains_by_the_plain_command(tmp_path):
    run = run_train(tmp_path, "data=breast_cancer", "model=logistic_regression", "trainer.accelerator=cpu")
    model = zoo.load(run)
    splits = load_splits("breast_cancer", like=model.spec)
    accuracy = (zoo.classify(model, splits.test.x()).argmax(1) == splits.test.labels).double().mean()
    assert accuracy >= 0.94  # 107 of 114
    assert model.spec == zoo.DataSpec.from_dict(model.spec.to_dict())


def test_kind_of_a_source_is_that_of_its_splits(monkeypatch):
    """Also where it left the kind out."""
    source = sources.find("breast_cancer")
    rows = Split(torch.rand(20, 1, 1, 3), torch.arange(20) % 2)
    monkeypatch.setattr(source, "load", lambda root: Loaded(rows, rows))
    splits = load_splits("breast_cancer")
    assert splits.train.kind == splits.test.kind == splits.spec.kind == "table"


def test_the_source_that_the_documentation_adds(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "add_data.md").read_text()
    code, options, line = (re.search(rf"```{kind}\n(.*?)```", page, re.S)[1] for kind in ("python", "yaml", "bash"))
    module = types.ModuleType("zoo.data.sources.mine")
    exec(code, module.__dict__)
    names = found.names
    monkeypatch.setattr(found, "names", lambda of: sorted([*names(of), *["mine"] * (of == "zoo.data.sources")]))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (tmp_path / "configs" / "data").mkdir(parents=True)
    (tmp_path / "configs" / "data" / "mine.yaml").write_text(options)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*line.split(), "trainer.fast_dev_run=true"])
    zoo_command()
    assert "went through everything" in capsys.readouterr().out
