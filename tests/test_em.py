"""Training of densities: EM in Lightning, the same model by gradient, and what a run tells of it."""

import csv
import itertools
import json
import math
import re
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from conftest import command, left, run_train
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import zoo
from zoo import registry
from zoo.base.generative import Density
from zoo.base.model import Model
from zoo.data.batches import Batches
from zoo.data.splits import Split, load_splits
from zoo.metrics.likelihood import dequantise, summarize_likelihood
from zoo.spec import Likelihood
from zoo.tasks.evaluate import describe, evaluate

pytestmark = [
    pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`"),
    pytest.mark.usefixtures("one_thread"),
]

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
MIXTURE = {"num_components": 3, "pca": 5}
TINY = (
    "model=gmm",
    "model.num_components=3",
    "model.pca=5",
    "model.init=random",
    "data=digits",
    "data.batch_size=128",
)


class Blob(Density):
    """N(mean, 1) for each pixel: the smallest density there is. ``statistics`` can be told to fail."""

    def __init__(self, spec, per_class=True):
        super().__init__(spec, per_class)
        self.density = Likelihood("exact", "dequantised")
        self.mean = nn.Parameter(torch.zeros(self.groups, math.prod(spec.shape)))
        self.broken = False
        self.starts = []

    def log_prob_of(self, x, group, observed=None):
        return torch.distributions.Normal(self.mean[group], 1.0).log_prob(x.flatten(1)).sum(1)

    @torch.no_grad()
    def initialize(self, batches, generator):
        sizes = [[len(x) for x, _ in batches] for _ in range(2)]  # it can be iterated again
        noise = torch.rand((), generator=generator)
        first, labels = next(iter(batches))
        self.starts.append((sizes, float(noise), first[:3].clone(), labels[:3].clone()))
        self.mean.fill_(0.5)
        self.initialized.fill_(True)

    def statistics(self, x, labels):
        groups = labels if self.groups > 1 else torch.zeros_like(labels)
        one_hot = nn.functional.one_hot(groups, self.groups).double()
        likelihood = self.log_likelihood(x, labels).double().sum()
        return {
            "images": one_hot.sum(),
            "log_likelihood": likelihood * math.nan if self.broken else likelihood,
            "counts": one_hot.sum(0),
            "sums": one_hot.T @ x.flatten(1).double(),
        }

    @torch.no_grad()
    def maximize(self, statistics):
        self.mean.copy_(statistics["sums"] / statistics["counts"][:, None])


@pytest.fixture(autouse=True, scope="module")
def blob():
    """The name exists only here: other tests go through all models that there are."""
    registry.register("blob")(Blob)
    yield
    del registry._CLASSES["blob"]


def digits(**options) -> zoo.ImageDataModule:
    return zoo.ImageDataModule("digits", **{"val_size": 200, **options})


def fit(learner: L.LightningModule, data, epochs: int = 1, callbacks=(), ckpt_path=None, **options) -> L.Trainer:
    trainer = L.Trainer(
        max_epochs=epochs, callbacks=list(callbacks), enable_checkpointing=bool(callbacks), **QUIET, **options
    )
    trainer.fit(learner, data, ckpt_path=ckpt_path)
    return trainer


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# A pass is a step of EM


@pytest.mark.parametrize("batch_size", [50, 2000])
@pytest.mark.parametrize(("name", "options"), [("naive_bayes", {}), ("gmm", MIXTURE)], ids=["naive_bayes", "gmm"])
def test_a_pass_is_an_exact_step(name, options, batch_size):
    """Two epochs in double precision equal two E-steps on all images at once and two M-steps, whatever the batches."""
    data = digits(batch_size=batch_size)
    torch.manual_seed(0)
    learner = zoo.EMLearner(zoo.create(name, data.spec, **options), tolerance=0)
    torch.manual_seed(7)  # what the start is drawn from
    trainer = fit(learner, data, epochs=2, precision="64-true")
    torch.manual_seed(0)
    model = zoo.create(name, data.spec, **options).double()
    split = data.splits.train
    x, labels = (split.images.float() / 255).double(), split.labels
    model.initialize([(x, labels)], torch.Generator().manual_seed(7))
    for _ in range(2):
        statistics = model.statistics(x, labels)
        before = float(statistics["log_likelihood"]) / len(x)
        model.maximize(statistics)
    for key, value in learner.model.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-7, atol=1e-7, msg=key)
    assert float(trainer.callback_metrics["train/log_likelihood"]) == pytest.approx(before, rel=1e-6)
    x, labels = (data.splits.val.images.float() / 255).double(), data.splits.val.labels
    after = model.log_likelihood(x, labels).mean().item()
    assert float(trainer.callback_metrics["val/log_likelihood"]) == pytest.approx(after, rel=1e-6)
    accuracy = float((zoo.classify(model, x).argmax(1) == labels).double().mean())
    assert float(trainer.callback_metrics["val/accuracy"]) == pytest.approx(accuracy, abs=1e-6)


def test_the_start():
    """Once, from all training images in their order, without augmentation, and from the run's seed alone."""
    data = digits(augment={"shift": 3}, batch_size=100)
    for learner_class in (zoo.EMLearner, zoo.LikelihoodLearner):
        torch.manual_seed(3)
        learner = learner_class(zoo.create("blob", data.spec))
        fit(learner, data, epochs=2)  # which begins with Lightning's sanity check
        ((sizes, noise, images, labels),) = learner.model.starts
        assert sizes == [[1238], [1238]]
        assert noise == float(torch.rand((), generator=torch.Generator().manual_seed(3)))
        assert torch.equal(images, data.splits.train.images[:3].float() / 255)
        assert torch.equal(labels, data.splits.train.labels[:3])
        fit(learner, data)
        assert len(learner.model.starts) == 1  # it has begun already
    torch.manual_seed(3)
    fit(zoo.EMLearner(zoo.create("blob", data.spec)), data)
    assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(3)))  # nothing was taken


def test_without_classes_and_validation():
    data = digits(val_size=0)
    learner = zoo.EMLearner(zoo.create("blob", data.spec, per_class=False))
    trainer = fit(learner, data, epochs=10)
    assert set(trainer.callback_metrics) == {"train/log_likelihood", "images_per_second"}
    assert trainer.current_epoch == 3  # the optimum, what it reaches, and that this is no more
    torch.testing.assert_close(learner.model.mean[0], data.splits.train.images.flatten(1).float().mean(0) / 255)
    data = digits()
    learner = zoo.EMLearner(zoo.create("blob", data.spec, per_class=False))
    trainer = fit(learner, data)
    assert set(trainer.callback_metrics) == {"train/log_likelihood", "images_per_second", "val/log_likelihood"}


def test_steps_are_counted(tmp_path):
    """One batch is one global step: max_steps, step checkpoints and the clock agree; a cut pass changes nothing."""
    data = digits()  # 10 batches an epoch
    whole, cut = (zoo.EMLearner(zoo.create("blob", data.spec), tolerance=0) for _ in range(2))
    assert fit(whole, data, epochs=2).global_step == 20
    steps = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=8, save_top_k=-1)
    trainer = fit(cut, data, epochs=-1, max_steps=26, callbacks=[steps])
    assert trainer.global_step == 26
    assert {path.stem for path in tmp_path.iterdir()} == {"step=8", "step=16", "step=24"}
    assert torch.equal(cut.model.mean, whole.model.mean)
    with pytest.raises(zoo.ConfigError, match="before the first pass"):
        fit(zoo.EMLearner(zoo.create("blob", data.spec)), data, epochs=-1, max_steps=9)


# A whole run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return run_train(tmp_path_factory.mktemp("runs"), *TINY, "learner.tolerance=0.00023", "trainer.max_epochs=40")


def test_files(run):
    assert left(run) == {"best.ckpt", "last.ckpt", "config.yaml", "metrics.csv", "summary.json", "figures"}
    assert {path.stem for path in (run / "figures").iterdir()} == {"samples", "components", "confusion", "reliability"}
    assert json.loads((run / "summary.json").read_text())["config"]["learner"]["name"] == "em"


def test_the_likelihood_rises_until_it_stops(run):
    table = rows(run)
    values = [float(row["train/log_likelihood"]) for row in table]
    assert all(after > before for before, after in itertools.pairwise(values))
    gains = [abs(after - before) / abs(after) for before, after in itertools.pairwise(values)]
    assert 3 < len(table) < 40
    assert gains[-1] <= 0.00023 < min(gains[:-1])
    best = torch.load(run / "best.ckpt", weights_only=True)
    validated = [float(row["val/log_likelihood"]) for row in table]
    assert best["epoch"] == validated.index(max(validated))
    val = load_splits("digits", val_size=200).val
    found = zoo.load(run).log_likelihood(val.images.float() / 255, val.labels).mean().item()
    assert found == pytest.approx(max(validated), rel=1e-5)


def test_a_converged_run_is_complete(run, capsys):
    last = torch.load(run / "last.ckpt", weights_only=True)
    assert last["global_step"] == 10 * len(rows(run))  # of the last epoch, though an earlier one was better
    with pytest.raises(SystemExit):
        run_train(None, f"resume={run}", "trainer.max_epochs=80")
    assert "the run has converged" in capsys.readouterr().err


def test_tensorboard(run):
    shown = EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 0}).Reload()
    scalars = set(shown.Tags()["scalars"])
    assert {
        "log_likelihood/train", "log_likelihood/val", "accuracy/val", "val/nll", "val/ece", "time/images_per_second",
        "test/accuracy", "test/log_prob", "test/bits_per_dim",
    } <= scalars  # fmt: skip
    assert [event.step for event in shown.Scalars("log_likelihood/train")][:2] == [9, 19]
    assert set(shown.Tags()["images"]) == {
        "training/examples", "validation/confusion", "model/samples", "model/components", "test/confusion",
        "test/reliability", "test/worst_mistakes",
    }  # fmt: skip
    tags = {tag.partition("/")[2]: tag for tag in shown.Tags()["images"]}
    for path in (run / "figures").iterdir():
        with Image.open(path) as picture:
            assert picture.convert("L").getextrema()[0] < 50
            in_tensorboard = shown.Images(tags[path.stem])[0]
            assert picture.size == (in_tensorboard.width, in_tensorboard.height)


def test_summary_and_evaluation(run, tmp_path):
    """The reported figures are those of best.ckpt, by the formulas; scripts/evaluate.py finds the same ones."""
    test = load_splits("digits").test
    reported = json.loads((run / "summary.json").read_text())["test"]
    model = zoo.load(run)
    x = dequantise(test.images, torch.Generator().manual_seed(0))
    log_prob = zoo.log_prob(model, x).double()
    assert reported["log_prob"] == pytest.approx(log_prob.mean().item(), rel=1e-6)
    assert reported["log_prob_se"] == pytest.approx(log_prob.std().item() / math.sqrt(len(x)), rel=1e-6)
    bits = -log_prob.mean().item() / (784 * math.log(2)) + math.log2(255)
    assert reported["bits_per_dim"] == pytest.approx(bits, rel=1e-6)
    assert reported["density"] == "exact, dequantised"
    right = zoo.classify(model, test.images.float() / 255).argmax(1) == test.labels
    assert reported["accuracy"] == pytest.approx(right.double().mean().item())
    result = command("scripts/evaluate.py", f"ckpt={run}", f"json={tmp_path / 'out.json'}")
    assert result.returncode == 0, result.stderr
    assert f"accuracy {reported['accuracy']:.2%}" in result.stdout
    of = f"exact, dequantised, sum over 10 classes, n = {len(x)}"
    assert re.search(rf"log p\(x\) = .* nats  [\d.]+ bits/dim\n     {of}", result.stdout)
    assert reported["log_prob_n"] == len(x)
    assert reported["log_prob_classes"] == 10
    again = json.loads((tmp_path / "out.json").read_text())["bits_per_dim"]
    assert again == pytest.approx(reported["bits_per_dim"], rel=1e-6)  # the threads of another process


def test_no_classes_from_end_to_end(tmp_path, capsys):
    """Training, its report, evaluation and the table of a multirun, of a model that is no classifier."""
    options = ("model.per_class=false", "data.val_size=0", "logger=none", "trainer.max_epochs=2")
    run = run_train(tmp_path, *TINY, *options)
    out = capsys.readouterr().out
    assert "accuracy" not in out
    lines = out.splitlines()[:-4]  # commands to paste
    assert any(line.startswith("test log p(x) ") for line in lines)
    assert max(map(len, lines)) <= 80
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["test"]) == {"log_prob", "log_prob_se", "bits_per_dim", "density", "log_prob_n"}
    result = command("scripts/evaluate.py", f"ckpt={run}", "split=train")
    assert result.returncode == 0, result.stderr
    assert "1,438 train images" in " ".join(result.stdout.split())
    assert "log p(x)" in result.stdout

    from zoo.run import sweep

    assert sweep.print_table(tmp_path) == (1, 0)
    table = capsys.readouterr().out
    assert "bits/dim" in table
    assert "ece" not in table


def test_states_are_drawn(tmp_path):
    """Of a model with hidden states: the path of each class and the transitions, as files."""
    options = ("model.num_states=4", "model.covariance=diag", "data=digits", "experiment=debug", "logger=none")
    run = run_train(tmp_path, "model=hmm", *options, figures=True)
    assert {path.name for path in (run / "figures").iterdir()} >= {"samples.png", "states.png", "transitions.png"}
    for reads, size in (("rows", (28, 28 + 1 + 4)), ("columns", (28 + 1 + 4, 28)), ("pixels", (28, 28 + 1 + 28))):
        from zoo.inspect.kinds.image import states_figure

        model = zoo.create("hmm", num_states=3, reads=reads, covariance="diag")
        (axes,) = states_figure(model, load_splits("digits").test).axes
        height, width = axes.images[0].get_array().shape[:2]
        top, gap = size[0] // 3, size[1] // 14  # two rows of five
        assert (height, width) == (2 * (size[0] + top), 5 * size[1] + 4 * gap)


# Going on


def test_resumed_within_a_pass(tmp_path):
    """A step checkpoint holds the partial sums: the same parameters as if nothing had happened, at a pass's end too."""

    def run(name: str, **options) -> tuple[dict, float]:
        data = digits(augment={"shift": 1})
        torch.manual_seed(0)
        learner = zoo.EMLearner(zoo.create("gmm", data.spec, **MIXTURE), tolerance=0)
        steps = ModelCheckpoint(tmp_path / name, "{step}", every_n_train_steps=2, save_top_k=-1)
        trainer = fit(learner, data, epochs=3, callbacks=[steps], **options)
        return learner.state_dict(), float(trainer.callback_metrics["train/log_likelihood"])

    straight, value = run("straight")
    for step in (4, 16, 20):  # of 10 an epoch
        torch.manual_seed(99)
        resumed, again = run(f"from {step}", ckpt_path=tmp_path / "straight" / f"step={step}.ckpt")
        assert all(torch.equal(value, resumed[key]) for key, value in straight.items()), step
        assert again == value
    sums = torch.load(tmp_path / "straight" / "step=4.ckpt", weights_only=True)["em"]["sums"]
    seen = sum(len(x) for x, _ in itertools.islice(Batches(digits().splits.train, 128), 4))
    assert float(sums["images"]) == pytest.approx(seen)


def test_a_loader_that_cannot_go_on_within_a_pass(tmp_path):
    split = digits().splits.train
    data = torch.utils.data.TensorDataset(split.images.float() / 255, split.labels)
    loader = torch.utils.data.DataLoader(data, 200)
    learner = zoo.EMLearner(zoo.create("blob"), tolerance=0)
    steps = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
    assert fit(learner, loader, epochs=2, callbacks=[steps]).global_step == 14
    torch.testing.assert_close(learner.model.mean[3], data.tensors[0][split.labels == 3].flatten(1).mean(0))
    with pytest.raises(zoo.ZooError, match="within a pass"):
        fit(zoo.EMLearner(zoo.create("blob")), loader, epochs=2, ckpt_path=tmp_path / "step=4.ckpt")


@pytest.mark.slow
def test_two_processes(tmp_path):
    """trainer=ddp on two CPU processes: each sums up half of the images; the parameters of one process come out."""
    options = (*TINY, "logger=none", "trainer.precision=64-true", "trainer.max_epochs=3", "learner.tolerance=0")
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    result = command("train.py", *options, *ddp, f"runs={tmp_path / 'two'}")
    assert result.returncode == 0, result.stderr
    (two,) = (tmp_path / "two").iterdir()
    one = run_train(tmp_path / "one", *options)
    assert json.loads((two / "summary.json").read_text())["steps"] == 15  # 1,238 images, 256 at a time
    first, second = (torch.load(run / "last.ckpt", weights_only=True)["state_dict"] for run in (one, two))
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=1e-7, atol=1e-7, msg=key)
    for key in ("train/log_likelihood", "val/log_likelihood", "val/accuracy"):
        values = [[float(row[key]) for row in rows(run)] for run in (one, two)]
        assert values[0] == pytest.approx(values[1], rel=1e-5)


# By gradient


def test_likelihood_by_gradient():
    """From the start that EM has, the likelihood rises; the averaged weights begin there too."""
    data = digits()

    def first_and_last(learner_class: type, name: str = "gmm", **options) -> tuple[float, float]:
        torch.manual_seed(0)
        learner = learner_class(zoo.create(name, data.spec, **(MIXTURE if name == "gmm" else {})), **options)
        seen = []
        learner.on_train_epoch_end = lambda f=learner.on_train_epoch_end: (
            f(),
            seen.append(float(learner.trainer.callback_metrics["train/log_likelihood"])),
        )
        trainer = fit(learner, data, epochs=4)
        return seen[0], float(trainer.callback_metrics["val/log_likelihood"])

    flat = {"optimizer": {"name": "SGD", "lr": 1e-12}, "schedule": {"name": "none"}}
    start, standing = first_and_last(zoo.LikelihoodLearner, **flat)
    assert start == pytest.approx(first_and_last(zoo.EMLearner, tolerance=0)[0], rel=1e-5)
    _, averaged = first_and_last(zoo.LikelihoodLearner, ema=0.5, **flat)
    assert averaged == pytest.approx(standing, rel=1e-6)
    _, standing = first_and_last(zoo.LikelihoodLearner, "blob", **flat)
    _, risen = first_and_last(zoo.LikelihoodLearner, "blob")
    _, best = first_and_last(zoo.EMLearner, "blob")
    assert standing + 5 < risen < best


def test_a_run_by_gradient(tmp_path):
    run = run_train(tmp_path, *TINY, "learner=likelihood", "experiment=debug", "trainer.log_every_n_steps=5")
    assert set(rows(run)[0]) == {
        "epoch", "step", "images_per_second", "train/loss", "train/log_likelihood",
        "val/log_likelihood", "val/accuracy", "val/nll", "val/ece",
    }  # fmt: skip
    shown = EventAccumulator(str(run)).Reload()
    assert [event.step for event in shown.Scalars("loss/step")] == [5, 10]
    assert (run / "best.ckpt").is_file()


# What is refused


class Mute(Model):
    """Neither classifies nor tells a likelihood."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec


@pytest.mark.parametrize(
    ("learner", "model", "options", "expected"),
    [
        ("EMLearner", "mlp", {}, "mlp cannot be trained by em"),
        ("LikelihoodLearner", "cnn", {}, "cnn is no generative model"),
        ("ClassificationLearner", "gmm", {}, "gmm is no classifier"),
        ("EMLearner", "gmm", {"tolerance": -1.0}, "tolerance"),
        ("EMLearner", "gmm", {"tolerance": math.nan}, "tolerance"),
        ("LikelihoodLearner", "gmm", {"optimizer": {"name": "Adamm"}}, "did you mean"),
        ("LikelihoodLearner", "gmm", {"ema": 1.0}, "ema"),
    ],
)
def test_refused(learner, model, options, expected):
    with pytest.raises(zoo.ConfigError, match=expected):
        getattr(zoo, learner)(zoo.create(model), **options)


@pytest.mark.parametrize("learner", [zoo.EMLearner, zoo.LikelihoodLearner])
def test_a_monitor_that_needs_classes(learner):
    model = zoo.create("gmm", **MIXTURE, per_class=False)
    with pytest.raises(zoo.ConfigError, match="needs a model of classes"):
        learner(model, monitor="val/accuracy")


def test_em_is_exact():
    with pytest.raises(zoo.ConfigError, match="64-true"):
        fit(zoo.EMLearner(zoo.create("blob")), digits(), precision="bf16-mixed")


def test_a_likelihood_that_is_no_number():
    model = zoo.create("blob")
    model.broken = True
    with pytest.raises(zoo.ZooError, match=r"became nan in epoch 0: .*model\.floor"):
        fit(zoo.EMLearner(model), digits())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model=mlp", "learner=em"], "cannot be trained by em"),
        (["model=gmm", "trainer.precision=bf16-mixed"], "64-true"),
        (["model=naive_bayes", "data.batch_size=128", "trainer.max_steps=3"], "before the first pass"),
        (["model=naive_bayes", "learner.monitor=val/loss"], "val/log_likelihood"),
    ],
    ids=" ".join,
)
def test_refused_before_anything_is_written(words, expected, tmp_path, capsys):
    words = words if isinstance(words, list) else [words]
    with pytest.raises(SystemExit) as exit_:
        run_train(tmp_path / "runs", *words)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) <= 5
    assert not (tmp_path / "runs").exists()


# Figures of merit


def test_bits_per_dim():
    """A uniform density of grey values costs log2 255 bits a pixel, a fair coin one; the mean's error is that of it."""
    uniform = summarize_likelihood(torch.zeros(5), 10, "dequantised")
    assert uniform == {"log_prob": 0, "log_prob_se": 0, "bits_per_dim": math.log2(255)}
    coins = summarize_likelihood(torch.full((1,), -10 * math.log(2)), 10, "binary")
    assert coins == {"log_prob": pytest.approx(-6.931, abs=1e-3), "bits_per_dim": pytest.approx(1)}
    values = torch.tensor([-3.0, -1.0, -2.0, -6.0])
    assert summarize_likelihood(values, 2, "binary")["log_prob_se"] == pytest.approx(values.std().item() / 2)


def test_each_token_of_texts_counts_the_same():
    """Tokens of a known probability each, 2 in one text and 6 in another: a text of more of them weighs more."""
    lengths, surprise = torch.tensor([2.0, 6.0]), torch.tensor([1.0, 3.0])  # bits a token
    found = summarize_likelihood(-lengths * surprise * math.log(2), float(lengths.mean()), "tokens")
    assert found["bits_per_token"] == pytest.approx((2 * 1 + 6 * 3) / 8)
    assert found["nats_per_token"] == pytest.approx(found["bits_per_token"] * math.log(2))
    assert found["log_prob"] == pytest.approx(-10 * math.log(2))
    assert set(found) == {"log_prob", "log_prob_se", "nats_per_token", "bits_per_token"}


def test_dequantised_density_bounds_the_probability_of_levels():
    """The mean log density of a level with noise is at most the log of the mass that it stands for, times 255."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([0, 100, 255], dtype=torch.uint8).repeat_interleave(20_000).view(-1, 1, 1, 1)
    x = dequantise(levels, generator).double()
    offset = x.flatten() * 255 - levels.flatten()
    assert offset.min() == pytest.approx(-0.5, abs=1e-3)
    assert offset.max() == pytest.approx(0.5, abs=1e-3)
    assert offset.mean().abs() < 0.01
    density = torch.distributions.Normal(100.3 / 255, 0.004)  # as narrow as a level: the bound is not tight
    low, high = density.cdf(torch.tensor([99.5, 100.5]).double() / 255)
    assert density.log_prob(x.view(3, -1)[1]).mean() < ((high - low) * 255).log()


def test_evaluate_asks_what_the_model_can_tell():
    split = load_splits("digits").test
    split = Split(split.images[:50], split.labels[:50])
    blob = zoo.create("blob", per_class=False)
    only_density = evaluate(blob, split)
    assert only_density.log_proba is None
    assert "accuracy" not in only_density.metrics
    assert [line.split()[0] for line in describe(only_density.metrics)] == ["log", "exact,"]
    assert evaluate(blob, split).metrics == only_density.metrics  # the noise is always the same
    only_classes = evaluate(zoo.create("mlp", hidden_sizes=[4]), split)
    assert "log_prob" not in only_classes.metrics
    both = evaluate(zoo.create("naive_bayes"), split).metrics
    assert both["density"] == "exact, binary"
    assert both["bits_per_dim"] == pytest.approx(1)  # fair coins
    assert [line.split()[0] for line in describe(both)] == ["accuracy", "log", "exact,"]
    with pytest.raises(zoo.ZooError, match="Mute can neither classify nor tell"):
        evaluate(Mute(zoo.DataSpec()), split)
