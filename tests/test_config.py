"""The command line: what is accepted, what is refused and how, and that no key is without effect."""

import functools
import itertools
import os
import re

import nursery
import pytest
import torch
import yaml
from conftest import CONFIGS, ROOT, command, run_train
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from test_sound import written

import zoo
from zoo import config as configuration
from zoo import schema
from zoo.base.generative import ByGroup
from zoo.config import add_found_options
from zoo.data import sources
from zoo.data.datamodule import ImageDataModule
from zoo.learners import learner_class
from zoo.models.dcgan import DCGAN
from zoo.models.flow_matching import FlowMatching
from zoo.models.vae import VAE

OPTIONS = {
    group: sorted(path.stem for path in (CONFIGS / group).glob("[!_]*.yaml"))
    for group in ("model", "learner", "recipe")
}
OPTIONS["data"] = sources.every()


def composed(*overrides: str) -> dict:
    add_found_options(CONFIGS)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return OmegaConf.to_container(compose("train", list(overrides)), resolve=True)


# What is refused


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["modle=cnn"], "did you mean 'model'"),
        (["model=cn"], "did you mean 'cnn'"),
        (["data=mnst"], "did you mean 'mnist'"),
        (["model=rnn", "model.hiden_size=3"], "did you mean 'model.hidden_size'"),
        (["+model.hiden_size=3", "model=rnn"], "did you mean 'model.hidden_size'"),
        (["learner.lr=1"], "learner.optimizer.lr"),
        (["trainer.gradient_clip_val=1"], "learner.clip"),
        (["model=gmm", "learner.lr=1"], "has no optimizer.lr"),
        (["model=gmm", "+trainer.gradient_clip_val=1"], "has no clip"),
        (["model=gmm", "learner.tolerence=0"], "did you mean 'learner.tolerance'"),
        (["model=dcgan", "learner.accumulate=2"], "has no accumulate: it sums no gradients"),
        (["model=gmm", "learner=likelihood", "learner.lr=1"], "learner.optimizer.lr"),
        (["data.batch_size=abc"], "a whole number is needed"),
        (["data.batch_size=1.5"], "a whole number is needed"),
        (["data.batch_size=0"], "[1, inf)"),
        (["data.augment.flip=2"], "true or false"),
        (["data.augment.rotate=181"], "[0, 180]"),
        (["data.augment.erase=1.1"], "[0, 1]"),
        (["data.augment.hide=1"], "[0, 1)"),
        (["model.dropout=1"], "[0, 1)"),
        (["model.dropout=nan"], "a number is needed"),
        (["model.channels=[8,x]"], "a whole number is needed"),
        (["model.channels=8"], "a list is needed"),
        (["model=rnn", "model.cell=gruu"], "vanilla, gru, lstm"),
        (["model.name=mlp"], "model=mlp"),
        (["learner.monitor=val/acc"], "val/accuracy, val/loss, val/nll, val/ece"),
        (["learner.optimizer=SGD"], "learner.optimizer"),
        (["trainer.max_epochs=0"], "[1, inf)"),
        (["trainer.precision=17"], "32-true"),
        (["seed=-1"], "[0, 4294967295]"),
        (["picture.png"], "key=value"),
        (["--model", "cnn"], "key=value"),
        (["--help", "modle=cnn"], "did you mean 'model'"),
        (["experiment=debgu"], "did you mean 'debug'"),
        (["resume=nowhere"], "no run directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused_in_a_few_lines(words, expected, tmp_path):
    """Exit status 2, at most five lines, no traceback, nothing written, and torch never imported."""
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('TORCH' if 'torch' in sys.modules else 'quick'))\n"
        f"sys.path.insert(0, {str(ROOT)!r}); sys.argv[:] = [{str(ROOT / 'train.py')!r}, *sys.argv[1:]]\n"
        "import train; train.main()\n"
    )
    result = nursery.run(["-c", program, *words], tmp_path, {**os.environ, "COLUMNS": "80"}, 60, torch=False)
    assert result.returncode == 2
    assert expected in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) <= 5
    assert result.stdout.split() == ["quick"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trainer=gpu"], "no GPU"),
        (["learner.optimizer.name=Adamm"], "did you mean 'Adam'"),
        (["+learner.optimizer.momntum=0.9"], "no option 'momntum'"),
        (["learner.optimizer.name=SGD", "+learner.optimizer.nesterov=true"], "Nesterov"),
        (["learner.schedule.name=OneCycle"], "did you mean 'OneCycleLR'"),
        (["+trainer.max_epoch=3"], "did you mean 'max_epochs'"),
        (["data.train_size=100000"], "images of each class"),
        (["data.val_size=100000"], "no training image"),
        (["data=image_folder"], "data.path"),
        (["data=image_folder", "data.path=nowhere"], "no directory"),
        (["model=svm", "model.num_features=8", "learner.label_smoothing=0.1"], "label smoothing"),
        (
            ["model=mlp", "learner.optimizer.lr=1e30", "learner.schedule.name=none", "logger=none"],
            "lower learner.optimizer.lr",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused_before_anything_is_written(words, expected, tmp_path, capsys):
    """Mistakes that need torch to be seen: still status 2, a few lines, and no run directory without a checkpoint."""
    if words == ["trainer=gpu"] and torch.cuda.is_available():
        pytest.skip("needs a machine without a gpu")
    with pytest.raises(SystemExit) as exit_:
        run_train(tmp_path / "runs", "model=mlp", "experiment=debug", *words)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) <= 5
    if "1e30" not in "".join(words):  # which only the first epoch shows
        assert not (tmp_path / "runs").exists()


def test_help_and_config_are_quick_and_complete():
    """``--help`` and ``--cfg job`` answer without torch, and show every group and key, and no rules as if they were."""
    text = command("train.py", "--help").stdout
    for group in ("data", "model", "learner", "trainer", "logger", "recipe of cnn", "experiment"):
        assert re.search(rf"^{group}: ", text, re.M), group
    assert not [line for line in text.splitlines() if len(line) > 80 or "_allowed_" in line]
    words = text.partition("== Keys")[2].split()
    assert {"seed", "model.channels", "data.augment.shift", "learner.optimizer.lr", "trainer.devices"} <= {*words}
    assert f"data: {', '.join(sources.every())} model: " in " ".join(text.split())  # those without a YAML, too
    shown = yaml.safe_load(command("train.py", "model=rnn", "--cfg", "job", "--resolve").stdout)
    assert shown["model"]["cell"] == "lstm"
    assert shown == _without_rules(composed("model=rnn"))


def _without_rules(node: dict) -> dict:
    return {
        key: _without_rules(value) if isinstance(value, dict) else value
        for key, value in node.items()
        if key != "_allowed_"
    }


@pytest.mark.parametrize(
    ("value", "default", "rule", "good"),
    [
        (1, 2, "[1, 2]", True), (0, 2, "[1, 2]", False), (2, 2, "[1, 2)", False), (1, 2, "(1, 2]", False),
        (True, 1, None, False), (1, True, None, False), (1, 1.0, None, True), (1.0, 1, None, False),
        (float("inf"), 1.0, None, False), ("x", None, None, True), (None, None, None, True), (3, None, None, False),
        ([1, 2], [3], "[1, inf)", True), ([0], [3], "[1, inf)", False), ([], [3], "[1, inf)", True),
        (3, [3], None, False),
        ("b", "a", ["a", "b"], True), ("c", "a", ["a", "b"], False), (object(), 1, "any", True),
    ],
)  # fmt: skip
def test_check_value(value, default, rule, good):
    if good:
        schema.check_value("key", value, default, rule)
    else:
        with pytest.raises(zoo.ConfigError, match="key"):
            schema.check_value("key", value, default, rule)


# What is accepted


@pytest.mark.parametrize("name", OPTIONS["learner"])
def test_learner_yaml_is_the_constructor(name):
    values = yaml.safe_load((CONFIGS / "learner" / f"{name}.yaml").read_text())
    values = {key: value for key, value in values.items() if key not in ("_allowed_", "name")}
    trained = {"classification": "logistic_regression", "adversarial": "dcgan", "objective": "flow_matching"}
    trained = trained.get(name, "naive_bayes")
    model = zoo.create(trained)
    learner = learner_class(name)(model)
    defaults = {key: value for key, value in learner.hparams.items() if key != "model"}
    assert values == defaults


def test_a_model_picks_its_learner_and_the_command_line_wins():
    assert composed("model=mlp")["learner"]["name"] == "classification"
    assert composed("model=naive_bayes")["learner"]["name"] == "em"
    assert composed("model=naive_bayes", "learner=likelihood")["learner"]["name"] == "likelihood"


def _pairs() -> list:
    """Each model with each data; those that have no recipe take long together, and a diagonal of them will do here."""
    models, found = OPTIONS["model"], []
    for row, data in enumerate(OPTIONS["data"]):
        for column, model in enumerate(models):
            often = f"{model}-{data}" in OPTIONS["recipe"] or (row - column) % len(models) == 0
            found.append(pytest.param(model, data, marks=() if often else pytest.mark.slow, id=f"{model}-{data}"))
    return found


@functools.cache
def _plain(option: str) -> dict:
    return composed(option, "~recipe")


@pytest.mark.parametrize(("model", "data"), _pairs())
def test_every_pair_composes(model, data):
    """Any model with any data, and what the pair's recipe sets is a key of the schema with a value of its type."""
    settings = composed(f"model={model}", f"data={data}")
    plain = {**_plain(f"model={model}"), "data": _plain(f"data={data}")["data"]}
    assert settings["model"]["name"] == model
    assert settings["data"]["name"] == data
    for group in ("model", "data", "learner", "trainer"):
        rules = dict(plain[group].get("_allowed_", {}))
        for key, value in _leaves(settings[group]):
            default = dict(_leaves(plain[group])).get(key, value)
            schema.check_value(f"{group}.{key}", value, default, rules.get(key))


def test_every_recipe_belongs_to_a_pair():
    pairs = {f"{model}-{data}" for model, data in itertools.product(OPTIONS["model"], OPTIONS["data"])}
    assert set(OPTIONS["recipe"]) <= pairs


def told_commands() -> list[str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    lines = (line.partition("#")[0].strip() for page in pages for line in page.read_text().splitlines())
    trains = [line for line in lines if line.startswith(("python train.py", "zoo train")) and "resume=" not in line]
    own = {"data=mine", "experiment=mine"}  # of files that readers make; test_sources.py and test_told.py do so, too
    return [line for line in dict.fromkeys(trains) if not own & {*line.split()}]


@pytest.mark.parametrize("line", told_commands())
def test_commands_that_are_told_compose(line):
    """Each training command of the README and the documentation is a valid configuration, for every job of a sweep."""
    words = [word for word in line.split()[2:] if not word.startswith(("-m", "--help", "runs", "hydra"))]
    words = [word.split(",") for word in words]
    for job in itertools.product(
        *(
            [f"{choices[0].partition('=')[0]}={c.rpartition('=')[2]}" for c in choices]
            if "=" in choices[0]
            else choices
            for choices in words
        )
    ):
        assert configuration.settings(job, CONFIGS)["model"]["name"] in zoo.list_models()


def test_command_line_wins_over_recipe_and_experiment():
    settings = composed("model=cnn", "data=digits", "experiment=debug", "data.batch_size=7", "trainer.max_epochs=9")
    assert settings["data"]["batch_size"] == 7
    assert settings["trainer"]["max_epochs"] == 9


def _leaves(node: dict, prefix: str = ""):
    for key, value in node.items():
        if key == "_allowed_":
            continue
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# No key is without effect: for each, a changed value and what can be seen to change with it


def _data(*overrides: str) -> ImageDataModule:
    settings = composed("model=mlp", "data=digits", *overrides)
    options = {key: value for key, value in settings["data"].items() if key != "_allowed_"}
    return ImageDataModule(**options, seed=settings["seed"])


def _first_batch(*overrides: str) -> torch.Tensor:
    return next(iter(_data(*overrides).train_dataloader()))[0]


@functools.cache
def _weights(*overrides: str) -> dict:
    """Names and shapes of a model's tensors, and what it answers.

    A classifier has the same weights each time and is asked in training mode too; a density has seen some images once;
    a model with a latent is asked for its criterion too.
    """
    settings = composed(*overrides)
    options = {key: value for key, value in settings["model"].items() if key not in ("_allowed_", "name")}
    torch.manual_seed(settings["seed"])
    model = zoo.create(settings["model"]["name"], zoo.DataSpec((3, 16, 24), 10), **options)
    generator = torch.Generator().manual_seed(0)
    if hasattr(model, "statistics"):
        x, labels = torch.rand(60, 3, 16, 24, generator=generator), torch.arange(60) % 10
        model.initialize([(x, labels)], generator)
        model.maximize(model.statistics(x, labels))
        answers = {"log_prob": zoo.log_prob(model, x[:4])}
        assert answers["log_prob"].isfinite().all()
    elif isinstance(model, VAE):
        x, labels = torch.rand(4, 3, 16, 24, generator=generator), torch.arange(4)
        torch.manual_seed(1)
        answers = {"losses": model.losses(x, labels, 0.5)["loss"], "log_prob": zoo.log_prob(model, x)}
    elif isinstance(model, DCGAN):
        real, labels = torch.rand(4, 3, 16, 24, generator=generator), torch.arange(4)
        classes = None if model.log_prior is None else labels
        fake = model.generator(model.noise(4, generator), classes)
        torch.manual_seed(1)
        terms = [sum(model.discriminator_terms(real, fake, classes, step)[0].values()) for step in range(2)]
        answers = {"discriminator": torch.stack(terms), "generator": model.generator_loss(fake, real, classes)}
    elif isinstance(model, FlowMatching):
        x, labels = torch.rand(4, 3, 16, 24, generator=generator), torch.arange(4)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
        torch.manual_seed(1)
        samples = zoo.sample(
            model, 4, labels if model.log_prior is not None else None, torch.Generator().manual_seed(0)
        )
        answers = {"losses": model.losses(x, labels)["loss"], "samples": samples}
    elif isinstance(model, ByGroup):
        x, labels = torch.rand(4, 3, 16, 24, generator=generator), torch.arange(4)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
        torch.manual_seed(1)
        answers = {"losses": model.losses(x, labels)["loss"], "log_prob": zoo.log_prob(model, x)}
    else:
        x = torch.rand(4, 3, 16, 24, generator=generator)
        for parameter in model.parameters():
            torch.nn.init.uniform_(parameter, -0.1, 0.1, generator=torch.Generator().manual_seed(0))
        torch.manual_seed(1)
        answers = {"train": model(x), "eval": model.eval()(x)}
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    return {"shapes": shapes, **{key: answer.tolist() for key, answer in answers.items()}}


SMALL_MLP = ("model=mlp", "model.hidden_sizes=[8]", "model.dropout=0")
SMALL_GMM = ("model=gmm", "model.num_components=2", "model.pca=3")
SMALL_FLOW = ("model.channels=[4]", "model.blocks=1", "model.steps=2")
RUNS = {  # a short run of each learner, and one that TensorBoard is told of
    "classification": (*SMALL_MLP, "logger=none"),
    "likelihood": (*SMALL_GMM, "learner=likelihood", "logger=none"),
    "em": (*SMALL_GMM, "trainer.max_epochs=3", "logger=none"),
    "objective": ("model=flow_matching", "model.conditional=false", *SMALL_FLOW, "logger=none"),
    "adversarial": ("model=dcgan", "model.channels=4", "logger=none"),
    "logger": SMALL_MLP,
}


def _run(tmp_path, learner: str, *overrides: str) -> dict:
    """What a short run leaves: files, the rows of metrics.csv, the last checkpoint, the summary."""
    run = run_train(tmp_path, *RUNS[learner], "data=digits", "experiment=debug", *overrides)
    rows = (run / "metrics.csv").read_text().splitlines()
    last = torch.load(run / "last.ckpt", weights_only=True)
    events = sorted(path.name for path in run.rglob("*") if path.is_file() and "events" not in path.name)
    return {
        "rows": len(rows) - 1,
        "steps": last["global_step"],
        "weights": [value.flatten()[:5].tolist() for value in last["state_dict"].values() if value.dim()],
        "keys": sorted(last["state_dict"]),
        "files": sorted(path.name for path in run.iterdir()),
        "events": events,
        "validated": [row for row in csv_column(rows, "val/nll") if row],
        "best": torch.load(run / "best.ckpt", weights_only=True)["epoch"] if (run / "best.ckpt").is_file() else None,
        "best value": last["callbacks"]["Checkpoints"]["best"],
        "parent": run.parent.name,
    }


def csv_column(rows: list[str], name: str) -> list[str]:
    header = rows[0].split(",")
    return [row.split(",")[header.index(name)] for row in rows[1:]] if name in header else []


OBSERVED_IN_DATA = {
    "data.batch_size": ("7", lambda m: len(m.train_dataloader())),
    "data.min_batches": ("50", lambda m: len(m.train_dataloader())),
    "data.val_size": ("100", lambda m: len(m.splits.val)),
    "data.train_size": ("50", lambda m: len(m.splits.train)),
    "data.labels": ("20", lambda m: m.splits.train.labels.min().item()),
    "data.split_seed": ("5", lambda m: m.splits.val.images.sum().item()),
    "data.folds": ("3", lambda m: len(m.splits.test)),
    "data.train_classes": ("[3]", lambda m: m.splits.train.labels.max().item()),
    "data.augment.shift": ("2", lambda m: next(iter(m.train_dataloader()))[0].tolist()),
    "data.augment.rotate": ("90", lambda m: next(iter(m.train_dataloader()))[0].tolist()),
    "data.augment.scale": ("0.5", lambda m: next(iter(m.train_dataloader()))[0].tolist()),
    "data.augment.flip": ("true", lambda m: next(iter(m.train_dataloader()))[0].tolist()),
    "data.augment.erase": ("1", lambda m: next(iter(m.train_dataloader()))[0].tolist()),
    "data.augment.hide": ("0.9", lambda m: next(iter(m.train_dataloader()))[0].tolist()),
    "seed": ("5", lambda m: next(iter(m.train_dataloader()))[1].tolist()),
}
OBSERVED_IN_FOLDER = {  # of a folder with pictures dark on light, in two classes
    "data.path": ("{folder}/train", lambda m: len(m.splits.train) + len(m.splits.test)),
    "data.image_size": ("8", lambda m: m.spec.shape),
    "data.color": ("color", lambda m: m.spec.shape),
    "data.frame": ("ink", lambda m: m.splits.train.images.float().mean().item()),
    "data.invert": ("never", lambda m: m.spec.mean[0] > 0.5),
    "data.root": ("{folder}/elsewhere", lambda m: None),
}
OBSERVED_IN_TABLE = {  # of a file of one's own
    "data.path": ("{folder}/other.csv", lambda m: len(m.splits.train) + len(m.splits.test)),
    "data.target": ("code", lambda m: m.spec.num_classes),
    "data.test_path": ("{folder}/other.csv", lambda m: len(m.splits.test)),
    "data.missing": ("['1']", lambda m: m.spec.missing),
    "data.categories": ("[code]", lambda m: m.spec.shape),
    "data.drop": ("[code]", lambda m: m.spec.shape),
    "data.groups": ("code", lambda m: m.spec.shape),
    "data.positive": ("no", lambda m: m.spec.class_names),
    "data.indicators": ("true", lambda m: m.spec.shape),  # of what data.missing takes for missing
    "data.costs": ("[1, 5]", lambda m: m.costs),
    "data.fold": ("1", lambda m: m.splits.test.images.nansum().item()),
}
OBSERVED_IN_TEXTS = {  # of a file of one's own
    "data.text": ("title", lambda m: m.spec.vocabulary),
    "data.case": ("kept", lambda m: m.spec.vocabulary),
    "data.ngrams": ("2", lambda m: m.spec.vocabulary),
    "data.min_count": ("9", lambda m: m.spec.vocabulary),
    "data.vocabulary": ("3", lambda m: m.spec.vocabulary),
    "data.weighting": ("count", lambda m: _fitted_logits(m)),
    "data.reads": ("characters", lambda m: m.spec.vocabulary),
    "data.longest": ("4", lambda m: m.spec.shape),  # of characters
}
OBSERVED_IN_RUNNING = {  # of running text of one's own
    "data.length": ("40", lambda m: m.spec.shape),
    "data.context": ("5", lambda m: m.spec.context),
    "data.val_share": ("0.5", lambda m: len(m.splits.val)),
    "data.test_share": ("0.5", lambda m: len(m.splits.test)),
}
OBSERVED_IN_SOUND = {  # of a folder of tones
    "data.features": ("mfcc", lambda m: m.spec.shape),
    "data.rate": ("4000", lambda m: m.splits.train.images.nan_to_num(0).sum().item()),
    "data.bands": ("30", lambda m: m.spec.shape),
    "data.decibels": ("20", lambda m: m.spec.std),
    "data.steps": ("20", lambda m: m.spec.shape),
    "data.align": ("stretch", lambda m: m.spec.missing),
    "data.center": ("level", lambda m: m.spec.std),
    "data.augment.pace": ("0.5", lambda m: next(iter(m.train_dataloader()))[0].nan_to_num(0).tolist()),
    "data.augment.warp": ("0.2", lambda m: next(iter(m.train_dataloader()))[0].nan_to_num(0).tolist()),
    "data.augment.masks": ("2", lambda m: next(iter(m.train_dataloader()))[0].nan_to_num(0).tolist()),
}
OBSERVED_IN_SEQUENCES = {
    "ngram.order": "2", "ngram.conditional": "false",
    "gpt.num_layers": "1", "gpt.width": "8", "gpt.heads": "1", "gpt.dropout": "0.5", "gpt.recent": "1",
    "gpt.conditional": "false", "gpt.bigram": "false", "gpt.ngram": "3", "gpt.share": "0.5",
    "rnnlm.cell": "gru", "rnnlm.embedding": "7", "rnnlm.hidden_size": "7", "rnnlm.num_layers": "2",
    "rnnlm.dropout": "0.9", "rnnlm.conditional": "false",
}  # fmt: skip
OBSERVED_IN_BAGS = {"svm.loss": "squared_hinge", "nbsvm.loss": "hinge", "nbsvm.alpha": "3", "nbsvm.beta": "0.9"}
OBSERVED_IN_MODEL = {
    "svm.kernel": "linear", "svm.num_features": "64", "svm.bandwidth": "0.7", "svm.seed": "3", "svm.mirror": "true",
    "mlp.hidden_sizes": "[5]", "mlp.dropout": "0.9", "mlp.mirror": "true",
    "cnn.channels": "[4]", "cnn.blocks": "1", "cnn.stem": "valid", "cnn.grid": "[1, 1]", "cnn.dropout": "0.9",
    "cnn.mirror": "true", "cnn.shifts": "true",
    "lenet.channels": "[4, 6]", "lenet.num_features": "30", "lenet.dropout": "0.9",
    "rnn.cell": "gru", "rnn.reads": "columns", "rnn.hidden_size": "7", "rnn.num_layers": "2",
    "rnn.bidirectional": None, "rnn.dropout": "0.9", "rnn.mirror": "true",
    "probe.classifier": "mlp",
    "naive_bayes.emission": "gaussian", "naive_bayes.threshold": "0.2", "naive_bayes.alpha": "7",
    "naive_bayes.var_smoothing": "0.5",
    "gmm.num_components": "3", "gmm.covariance": "diag", "gmm.rank": "1", "gmm.pca": "5", "gmm.per_class": None,
    "gmm.init": "random", "gmm.restarts": "9", "gmm.floor": "0.1",
    "hmm.num_states": "2", "hmm.reads": "columns", "hmm.emission": "bernoulli", "hmm.covariance": "diag",
    "hmm.lags": "1", "hmm.topology": "ergodic", "hmm.per_class": None, "hmm.floor": "0.1", "hmm.ridge": "50",
    "hmm.smoothing": "7",
    "dcgan.latent_dim": "5", "dcgan.channels": "6", "dcgan.conditional": None, "dcgan.loss": "hinge",
    "dcgan.gradient_penalty": "3", "dcgan.r1": "7", "dcgan.r1_every": "1", "dcgan.spectral_norm": None,
    "vae.network": "mlp", "vae.latent_dim": "2", "vae.hidden_sizes": "[5]", "vae.channels": "[3]", "vae.blocks": "0",
    "vae.likelihood": "bernoulli", "vae.prior": "realnvp", "vae.flow_layers": "3", "vae.flow_width": "5",
    "vae.conditional": None, "vae.beta": "0.5", "vae.num_samples": "2", "vae.free_bits": "3", "vae.warmup": "2",
    "vae.importance_samples": "3",
    "dcgan.r2": "3", "dcgan.shift": "0.3", "dcgan.cutout": "0.5",
    "flow_matching.network": "dit", "flow_matching.conditional": None, "flow_matching.guidance": "3",
    "flow_matching.steps": "2", "flow_matching.solver": "heun", "flow_matching.patch": "3",
    "flow_matching.channels": "[6]", "flow_matching.blocks": "2", "flow_matching.dropout": "0.9",
    "flow_matching.time_mean": "1",
    "autoregressive.likelihood": "discretized_logistic", "autoregressive.patch": "[2, 1]",
    "autoregressive.channels": "6", "autoregressive.blocks": "3", "autoregressive.attention": "2",
    "autoregressive.orders": "2", "autoregressive.conditional": None, "autoregressive.dropout": "0.9",
    "autoregressive.mixtures": "3",
}  # fmt: skip
OF_M2 = ("network", "latent_dim", "hidden_sizes", "channels", "blocks", "likelihood", "prior", "flow_layers",
         "flow_width", "beta", "warmup", "importance_samples")  # fmt: skip
OBSERVED_IN_MODEL |= {f"m2.{option}": OBSERVED_IN_MODEL[f"vae.{option}"] for option in OF_M2}
SMALL = {  # sizes that are quick
    "flow_matching": ["model.channels=[4]", "model.blocks=1", "model.steps=3"],
    "autoregressive": ["model.channels=4", "model.blocks=2", "model.patch=[1,2]"],
    "rnnlm": ["model.hidden_size=8", "model.embedding=6"],
    "gpt": ["model.num_layers=2", "model.width=16", "model.heads=2", "model.ngram=2", "model.share=0.2"],
    "svm": ["model.num_features=32"],
    "gmm": ["model.num_components=2", "model.pca=4", "model.rank=2"],
    "hmm": ["model.num_states=3"],
    "dcgan": ["model.channels=4"],
    "vae": ["model.latent_dim=3", "model.hidden_sizes=[8]", "model.channels=[4]", "model.importance_samples=2"],
    "m2": ["model.latent_dim=3", "model.hidden_sizes=[8]", "model.channels=[4]", "model.importance_samples=2"],
}
CONTEXT = {  # what an option needs beside it to have an effect
    "naive_bayes.var_smoothing": "emission=gaussian",
    "autoregressive.mixtures": "likelihood=discretized_logistic",
    "gmm.rank": "covariance=low_rank",
    "gmm.restarts": "per_class=false",
    "hmm.ridge": "lags=1",
    "hmm.smoothing": "emission=bernoulli",
    "vae.channels": "network=conv",
    "vae.blocks": "network=conv",
    "vae.flow_layers": "prior=realnvp",
    "vae.flow_width": "prior=realnvp",
}
CONTEXT |= {key.replace("vae.", "m2."): word for key, word in CONTEXT.items() if key.startswith("vae.")}
OF_GRADIENT = {
    "optimizer.name": ("SGD", "weights"),
    "optimizer.lr": ("0.1", "weights"),
    "optimizer.weight_decay": ("0.5", "weights"),
    "schedule.name": ("none", "weights"),
    "ema": ("0.5", "keys"),
    "clip": ("0.001", "weights"),
    "accumulate": ("5", "steps"),
    "monitor": ("val/ece", "best value"),
}
OBSERVED_IN_RUN = {
    **{f"classification.{key}": row for key, row in OF_GRADIENT.items()},
    "classification.label_smoothing": ("0.5", "weights"),
    "classification.calibrate": ("true", "keys"),
    **{f"likelihood.{key}": row for key, row in OF_GRADIENT.items()},
    **{f"objective.{key}": row for key, row in OF_GRADIENT.items() if key not in ("ema", "monitor")},
    "objective.ema": ("0", "keys"),
    **{f"adversarial.{key}": OF_GRADIENT[key] for key in ("optimizer.lr", "clip")},
    "adversarial.optimizer.name": ("NAdam", "weights"),
    "adversarial.optimizer.betas": ("[0.8, 0.9]", "weights"),
    "adversarial.schedule.name": ("OneCycleLR", "weights"),
    "adversarial.lr_ratio": ("3", "weights"),
    "adversarial.n_critic": ("2", "weights"),
    "adversarial.ema": ("0", "keys"),
    "em.tolerance": ("0.9", "rows"),
    "em.monitor": ("val/ece", "best value"),
    "trainer.precision": ("64-true", "weights"),
    "trainer.max_epochs": ("3", "rows"),
    "trainer.max_steps": ("3", "steps"),
    "trainer.limit_train_batches": ("3", "steps"),
    "trainer.limit_val_batches": ("0", "validated"),
    "trainer.check_val_every_n_epoch": ("2", "validated"),
    "logger.embeddings": ("0", "events"),
}
OBSERVED_ELSEWHERE = {
    "autoregressive.particles": "test_autoregressive.test_what_precedes_is_imputed_nearly",
    "objective.monitor": "test_flow_matching.test_the_epoch_of_the_least_error_is_kept",
    "gpt.patch": "test_patches.test_all_pictures_together_have_probability_one",
    "runs": "every run of these tests: run_train names it",
    "compile": "test_precision.test_compiled_equals_plain",
    "resume": "test_contract.test_resumed_equals_straight",
    "save_every": "test_trust.test_checkpoints_within_an_epoch",
    "patience": "test_patience.test_training_ends_where_nothing_gets_better",
    "trainer.profiler": "test_patience.test_a_profile_is_told",
    "logger.graph": "test_train.test_the_graph_is_drawn_where_it_is_asked_for",
    "logger.project": "test_loggers, which has the package in a stub",
    "logger.offline": "test_loggers, which has the package in a stub",
    "logger.experiment_name": "test_loggers, which has the package in a stub",
    "logger.tracking_uri": "test_loggers, which has the package in a stub",
    "data.speaker": "test_sound.test_a_speaker_is_on_one_side_alone",
    "data.split": "test_published.test_emnist_from_the_archive",
    "data.names": "test_published.test_labels_and_their_names",
    "data.repeat": "test_semi_supervised.test_labelled_images_are_repeated",
    "gmm.alpha": "test_categories.test_alpha_counts_as_examples, which have categories",
    "m2.classify_weight": "test_semi_supervised, from the bound without a label on",
    "rnn.forget_bias": "test_truth.test_the_forget_gates_of_an_lstm_begin_more_open, a start that others replace",
    "rnn.embedding": "test_recurrent.test_each_option_of_a_reader_has_an_effect, which is of texts",
    "probe.encoder": "test_probe.test_trained_from_the_command_line",
    "trainer.accelerator": "test_refused_before_anything_is_written: trainer=gpu",
    "trainer.devices": "test_train.test_two_processes",
    "trainer.strategy": "test_train.test_two_processes",
    "trainer.sync_batchnorm": "test_many",
    "trainer.num_nodes": "test_trainer_argument",
    "trainer.deterministic": "test_trainer_argument",
    "trainer.log_every_n_steps": "test_train.test_loss_curve_has_a_point_every_n_steps",
    "trainer.fast_dev_run": "test_train.test_fast_dev_run_saves_nothing",
    "logger.mistakes": "test_train.test_tensorboard_shows_the_run",
}


def test_every_key_has_a_row():
    """A new key without a statement of what it changes fails here."""
    keys = {"seed", "runs", "compile", "resume", "save_every", "patience"}
    for group in ("data", "model", "learner", "trainer", "logger"):
        for path in (CONFIGS / group).glob("*.yaml"):
            content = {key: value for key, value in yaml.safe_load(path.read_text()).items() if key != "defaults"}
            prefix = path.stem if group in ("model", "learner") else group
            keys |= {f"{prefix}.{key}" for key, _ in _leaves(content)}
    keys = {key for key in keys if not re.fullmatch(r"\w+\.name", key)}  # the option of the group itself
    known = (
        OBSERVED_IN_DATA
        | OBSERVED_IN_FOLDER
        | OBSERVED_IN_TABLE
        | OBSERVED_IN_TEXTS
        | OBSERVED_IN_RUNNING
        | OBSERVED_IN_SOUND
        | OBSERVED_IN_BAGS
        | OBSERVED_IN_SEQUENCES
        | OBSERVED_IN_MODEL
        | OBSERVED_IN_RUN
        | OBSERVED_ELSEWHERE
    )
    assert keys == set(known)


@pytest.mark.parametrize("key", OBSERVED_IN_DATA)
def test_data_key_is_observed(key):
    value, observe = OBSERVED_IN_DATA[key]
    assert observe(_data(f"{key}={value}")) != observe(_data())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    for split, name, number in itertools.product(("train", "test"), ("cats", "dogs"), range(6)):
        path = folder / split / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("L", (30, 20), 250)
        picture.paste(10 * number, (10, 5, 20, 15))
        picture.save(path)
    return folder


@pytest.mark.parametrize("key", OBSERVED_IN_FOLDER)
def test_folder_key_is_observed(key, folder, tmp_path):
    value, observe = OBSERVED_IN_FOLDER[key]
    options = ["data=image_folder", f"data.path={folder}", f"data.root={tmp_path}", "data.val_size=0"]
    changed = _data(*options, f"{key}={value.format(folder=folder)}")
    if key == "data.root":
        assert list((folder / "elsewhere").rglob("images.npy"))
    else:
        assert observe(changed) != observe(_data(*options))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    for name, rows in (("rows", 60), ("other", 45)):
        lines = [f"{row * 0.5},{row % 5},{'yes' if row % 3 else 'no'}" for row in range(rows)]
        (folder / f"{name}.csv").write_text("\n".join(["size,code,bought", *lines]) + "\n")
    return folder


@pytest.mark.parametrize("key", OBSERVED_IN_TABLE)
def test_table_key_is_observed(key, tables):
    value, observe = OBSERVED_IN_TABLE[key]
    options = ["data=table", f"data.path={tables}/rows.csv", "data.target=bought", "data.val_size=0"]
    beside = {"data.fold": ["data.folds=3"], "data.indicators": ["data.missing=['1']"]}
    options += beside.get(key, [])
    assert observe(_data(*options, f"{key}={value.format(folder=tables)}")) != observe(_data(*options))


def _fitted_logits(data) -> list[float]:
    """What a classifier says of the training texts that has learnt nothing but how they are weighted."""
    model = zoo.create("logistic_regression", data.spec)
    torch.nn.init.ones_(model.head.weight)
    return model(data.splits.train.x()).flatten().tolist()


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "messages.csv"
    lines = [f"Call me {row % 7} times Now now,{'A b' if row % 2 else 'C'},{row % 3 > 0}" for row in range(60)]
    file.write_text("\n".join(["message,title,spam", *lines]) + "\n")
    return file


@pytest.mark.parametrize("key", OBSERVED_IN_TEXTS)
def test_texts_key_is_observed(key, texts):
    value, observe = OBSERVED_IN_TEXTS[key]
    options = ["data=labelled_text", f"data.path={texts}", "data.text=message", "data.target=spam", "data.val_size=0"]
    options += ["data.reads=characters"] if key == "data.longest" else []
    assert observe(_data(*options, f"{key}={value}")) != observe(_data(*options))


@pytest.mark.parametrize("key", OBSERVED_IN_RUNNING)
def test_running_text_key_is_observed(key, texts):
    value, observe = OBSERVED_IN_RUNNING[key]
    options = ["data=text", f"data.path={texts}", "data.length=32", "data.context=8"]
    assert observe(_data(*options, f"{key}={value}")) != observe(_data(*options))


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    return written(folder / "tones", {"high": 5, "low": 5})


@pytest.mark.parametrize("key", OBSERVED_IN_SOUND)
def test_key_of_recordings_is_observed(key, tones):
    value, observe = OBSERVED_IN_SOUND[key]
    options = ["data=audio_folder", f"data.path={tones}", f"data.root={tones.parent}", "data.val_size=0"]
    assert observe(_data(*options, f"{key}={value}")) != observe(_data(*options))


@functools.cache
def _of_sequences(name: str, *overrides: str) -> list[float]:
    """What a model that has begun to learn says of texts."""
    settings = composed("data=grammar", "data.reads=characters", f"model={name}", *SMALL.get(name, []), *overrides)
    options = {key: value for key, value in settings["model"].items() if key not in ("_allowed_", "name")}
    data = zoo.ImageDataModule("grammar", reads="characters")
    torch.manual_seed(0)
    model = zoo.create(name, data.spec, **options)
    x, labels = data.splits.test.x()[:20], data.splits.test.labels[:20]
    model.initialize([(x, labels)], torch.Generator().manual_seed(0))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(0))
    said = [model.losses(x, labels)["loss"].item()] if hasattr(model, "losses") else []
    return [*said, *zoo.log_prob(model, x).tolist()]


@pytest.mark.parametrize("key", OBSERVED_IN_SEQUENCES)
def test_key_of_a_model_of_sequences_is_observed(key):
    name, _, option = key.partition(".")
    assert _of_sequences(name, f"model.{option}={OBSERVED_IN_SEQUENCES[key]}") != _of_sequences(name)


def _of_a_bag(*overrides: str) -> list[float]:
    """What a machine that has some weights says of texts, and its criterion."""
    settings = composed("data=grammar", "model.kernel=linear" if "model=svm" in overrides else "seed=0", *overrides)
    options = {key: value for key, value in settings["model"].items() if key not in ("_allowed_", "name")}
    data = zoo.ImageDataModule("grammar")
    model = zoo.create(settings["model"]["name"], data.spec, **options)
    x, labels = data.splits.test.x(), data.splits.test.labels
    if hasattr(model, "initialize"):
        model.initialize([(x, labels)], torch.Generator())
    torch.nn.init.normal_(model.head.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    return [model.loss(model(x), labels).item(), *zoo.classify(model, x).flatten().tolist()]


@pytest.mark.parametrize("key", OBSERVED_IN_BAGS)
def test_key_of_a_model_of_texts_is_observed(key):
    name, _, option = key.partition(".")
    base = f"model={name}"
    assert _of_a_bag(base, f"model.{option}={OBSERVED_IN_BAGS[key]}") != _of_a_bag(base)


@pytest.mark.parametrize("key", OBSERVED_IN_MODEL)
def test_model_key_is_observed(key):
    name, _, option = key.partition(".")
    base = [f"model={name}", *SMALL.get(name, []), *([f"model.{CONTEXT[key]}"] if key in CONTEXT else [])]
    value = OBSERVED_IN_MODEL[key]
    if value is None:  # the opposite of a boolean default
        value = str(not composed(*base)["model"][option]).lower()
    assert _weights(*base, f"model.{option}={value}") != _weights(*base)


@pytest.fixture(scope="module")
def plain_runs(tmp_path_factory):
    return {learner: _run(tmp_path_factory.mktemp("plain"), learner) for learner in RUNS}


@pytest.mark.parametrize("key", OBSERVED_IN_RUN)
def test_run_key_is_observed(key, plain_runs, tmp_path):
    value, what = OBSERVED_IN_RUN[key]
    group, _, option = key.partition(".")
    learner = group if group in RUNS else "classification"
    word = f"{key}={value}" if group in ("trainer", "logger") else f"learner.{option}={value}"
    assert _run(tmp_path, learner, word)[what] != plain_runs[learner][what]


@pytest.mark.parametrize(("key", "value"), [("num_nodes", 2), ("deterministic", True)])
def test_trainer_argument(key, value, tmp_path, monkeypatch):
    """Arguments whose effect needs other machines reach Lightning's Trainer as they are."""
    from zoo.run.trainer import build_trainer

    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # where the other machines would be
    settings = composed("model=mlp", "trainer=cpu", "logger=none", "trainer.strategy=ddp")
    settings["trainer"].pop("_allowed_")
    settings["trainer"][key] = value
    trainer = build_trainer(settings, tmp_path, [])
    seen = {"num_nodes": trainer.num_nodes, "deterministic": torch.are_deterministic_algorithms_enabled()}
    torch.use_deterministic_algorithms(False)
    assert seen[key] == value


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "experiment").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_composes_and_is_allowed(path):
    name = path.relative_to(ROOT / "configs" / "experiment").with_suffix("")
    settings = configuration.settings([f"experiment={name}"], CONFIGS)
    assert settings["model"]["name"]
