"""Models as files of other programs: they answer as the model does, for any number at a time."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from conftest import run_script, run_train
from test_contract import MODELS, VARIANTS, build, started

import zoo
from zoo import checkpoint
from zoo.errors import ZooError
from zoo.files import PRETRAINED
from zoo.run import cards
from zoo.tasks import export as exports

CASES = [(name, {}) for name in MODELS] + VARIANTS
QUICK = [("naive_bayes", {}), ("gpt", {})]


def in_onnxruntime(path):
    """What a file answers, by the names of its inputs, and these with their shapes."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {each.name: each.shape for each in session.get_inputs()}
    assert {each.shape[0] for each in session.get_outputs()} == {"batch"}
    return inputs, lambda **given: session.run(None, {name: x.numpy() for name, x in given.items()})[0]


def test_a_classifier_in_onnxruntime(tmp_path, capsys):
    """Released weights, by the command; another number of pictures than it was recorded with."""
    run_script("export.py", "ckpt=cnn-mnist", f"out={tmp_path}")
    path = tmp_path / "cnn-mnist-classify.onnx"
    assert capsys.readouterr().out.startswith(f"{path}: x (batch, 1, 28, 28) → log_probs, log p(y | x) in nats")
    inputs, ask = in_onnxruntime(path)
    assert inputs == {"x": ["batch", 1, 28, 28]}
    x = torch.rand(37, 1, 28, 28)
    np.testing.assert_allclose(ask(x=x), zoo.classify(zoo.load("cnn-mnist"), x).numpy(), atol=1e-5)


def test_a_conditional_generator_in_onnxruntime(tmp_path):
    """A class and noise make the picture that they make in the zoo."""
    run_script("export.py", "ckpt=dcgan-mnist", "part=generate", f"out={tmp_path / 'digits.onnx'}")
    inputs, ask = in_onnxruntime(tmp_path / "digits.onnx")
    assert inputs == {"noise": ["batch", 64], "labels": ["batch"]}
    model, noise, labels = zoo.load("dcgan-mnist"), torch.randn(5, 64), torch.tensor([3, 1, 4, 1, 5])
    with torch.no_grad():
        np.testing.assert_allclose(ask(noise=noise, labels=labels), model.generate(noise, labels).numpy(), atol=1e-5)


def test_a_program_of_torch_needs_no_zoo(tmp_path):
    run_script("export.py", "ckpt=cnn-mnist", "format=torch_export", f"out={tmp_path}")
    x = torch.rand(5, 1, 28, 28)
    told = torch.export.load(tmp_path / "cnn-mnist-classify.pt2").module()(x)
    torch.testing.assert_close(told, zoo.classify(zoo.load("cnn-mnist"), x), atol=1e-5, rtol=0)


def test_safetensors_are_a_release(tmp_path, capsys):
    run_script("export.py", "ckpt=cnn-mnist", "format=safetensors", f"out={tmp_path / 'mine'}")
    assert capsys.readouterr().out == f"{tmp_path / 'mine'}\n"
    x = torch.rand(5, 1, 28, 28)
    assert torch.equal(zoo.classify(zoo.load(tmp_path / "mine"), x), zoo.classify(zoo.load("cnn-mnist"), x))


def test_a_folder_for_the_hub(tmp_path, monkeypatch, capsys):
    """Of a release, with its figures, in its precision; of a run, with its command; the card is what the hub reads."""
    run_script("export.py", "ckpt=m2-mnist", "format=hf", f"out={tmp_path / 'digits'}")
    assert capsys.readouterr().out == f"{tmp_path / 'digits'}\n"
    _, head, text = (tmp_path / "digits" / "README.md").read_text().split("---\n")
    card = yaml.safe_load(head)
    assert (card["library_name"], card["license"], card["datasets"]) == (cards.LIBRARY, "mit", ["mnist"])
    assert card["model-index"][0]["name"] == "digits"
    metrics = json.loads((PRETRAINED / "m2-mnist" / "metrics.json").read_text())
    assert card["model-index"][0]["results"][0]["metrics"][0]["value"] == pytest.approx(metrics["accuracy"], abs=1e-5)
    assert 'zoo.load("hf-hub:<user>/digits")' in text
    assert f"accuracy {metrics['accuracy']:.2%}" in text
    released, made = (checkpoint.released_config(folder) for folder in (PRETRAINED / "m2-mnist", tmp_path / "digits"))
    assert made == released
    run = run_train(tmp_path / "runs", "model=naive_bayes", "data=digits", "logger=none")
    monkeypatch.chdir(tmp_path)
    run_script("export.py", f"ckpt={run}", "format=hf", "out=mine")
    text = (tmp_path / "mine" / "README.md").read_text()
    assert "trained by `zoo train data=digits model=naive_bayes seed=0`" in text
    assert str(tmp_path) not in text + (tmp_path / "mine" / "config.json").read_text()
    assert "license" not in yaml.safe_load(text.split("---\n")[1])  # which whoever trained it chooses
    entry = json.loads((tmp_path / "mine" / "config.json").read_text())
    (tmp_path / "mine" / "config.json").write_text(json.dumps(entry | {"training": {"by": "somebody"}}))
    run_script("export.py", "ckpt=mine", "format=hf", "out=theirs")
    assert "trained by" not in (tmp_path / "theirs" / "README.md").read_text()
    x = torch.rand(5, 1, 28, 28)
    assert torch.equal(zoo.classify(zoo.load("mine"), x), zoo.classify(zoo.load(run), x))


@pytest.mark.parametrize(
    ("name", "options"),
    [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow) for case in CASES],
    ids=lambda value: str(value),
)
def test_every_question_can_be_recorded(name, options, tmp_path):
    """As a program of torch, which answers alike for another number of examples; of texts a sentence says why not."""
    model = started(build(name, shape=(1, 8, 8) if name != "lenet" else None, **options))
    if model.spec.kind == "tokens":
        with pytest.raises(ZooError, match="vocabulary"):
            exports.export(model, "log_prob", "torch_export", tmp_path / "none")
        return
    parts = exports.parts_of(model)
    assert ("classify" in parts) == hasattr(model, "classify")
    for part in parts:
        assert exports.export(model, part, "torch_export", tmp_path / f"{part}.pt2") <= exports.TOLERANCE
    assert len([*tmp_path.iterdir()]) == len(parts)


def test_what_a_format_cannot_hold_is_told(tmp_path):
    """And nothing is written."""
    model = started(build("naive_bayes", shape=(1, 8, 8)))
    model.log_prob = lambda x: x.sum((1, 2, 3)) if float(x.sum()) > 0 else x.amax((1, 2, 3))
    with pytest.raises(ZooError, match="torch_export cannot hold log_prob of naive_bayes"):
        exports.export(model, "log_prob", "torch_export", tmp_path / "a.pt2")
    with pytest.raises(ZooError, match="has no decode"):
        exports.export(model, "decode", "torch_export", tmp_path / "a.pt2")
    assert not [*tmp_path.iterdir()]


def test_an_operator_that_a_format_lacks_is_named(tmp_path):
    model = started(build("gmm", shape=(1, 4, 4)))
    with pytest.raises(
        ZooError, match="onnx cannot hold log_prob of gmm: there is no such operator for torch's linalg_"
    ):
        exports.export(model, "log_prob", "onnx", tmp_path / "none")
    assert not [*tmp_path.iterdir()]
