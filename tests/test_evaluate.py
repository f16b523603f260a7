"""``evaluate.py`` where pixels are hidden: it measures what it says, and refuses what makes no sense."""

import json
import runpy

import pytest
from conftest import ROOT, run_script, run_train

import zoo
from zoo.data.splits import load_splits
from zoo.tasks.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("one_thread")


def test_command_hides_pixels(tmp_path, capsys):
    run = run_train(tmp_path, "model=logistic_regression", "data=digits", "experiment=debug", "logger=none")
    model, split = zoo.load(run), load_splits("digits").test
    for words, options in (
        (("missing=0.6",), {"missing": 0.6}),
        (("missing=0.6", "fill=mean"), {"missing": 0.6, "fill": "mean"}),
        (("mask=half",), {"missing": 0.5, "mask": "half"}),
        (("mask=block", "missing=0.2", "fill=local"), {"missing": 0.2, "mask": "block", "fill": "local"}),
    ):
        run_script("evaluate.py", f"ckpt={run}", *words, "samples=0", f"json={tmp_path / 'out.json'}")
        accuracy = json.loads((tmp_path / "out.json").read_text())["accuracy"]
        assert accuracy == pytest.approx(evaluate(model, split, **options).metrics["accuracy"])
        said = capsys.readouterr().out
        assert f"{options['missing']:.0%} of the pixels missing" in " ".join(said.split())
        assert options.get("mask", "mcar") in said
    for words, reason in (
        (("mask=half", "missing=0.2"), "missing=0.2 is for mcar and block"),
        (("mask=block",), "as missing=… says"),
        (("fill=mean",), "give missing=… or mask=…"),
        (("missing=0.5", "fill=median"), "allowed values are local, mean"),
    ):
        with pytest.raises(SystemExit) as end:
            run_script("evaluate.py", f"ckpt={run}", *words)
        assert end.value.code == 2
        assert reason in capsys.readouterr().err


def test_the_commands_know_all_masks_and_fills():
    from zoo.base.fill import FILLS
    from zoo.tasks.impute import MASKS

    for name in ("evaluate", "impute"):
        rules = runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))["RULES"]
        assert rules["mask"] == list(MASKS)
        assert rules.get("fill") == (list(FILLS) if name == "evaluate" else None)
