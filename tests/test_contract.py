"""What every registered model must do, whatever it is: a new model is tested by being there."""

import itertools

import pytest
import torch
import yaml
from conftest import CONFIGS, ROOT, run_train

import zoo
from zoo import capability, registry

SHAPES = [(1, 28, 28), (1, 32, 32), (3, 32, 32)]
MODELS = zoo.list_models()
VARIANTS = [  # options that change the architecture; a model's defaults are always tested too
    ("svm", {"kernel": "linear"}),
    ("mlp", {"hidden_sizes": []}),
    *(
        ("rnn", {"cell": cell, "reads": reads})
        for cell, reads in itertools.product(("vanilla", "gru"), ("rows", "columns"))
    ),
    ("rnn", {"num_layers": 2, "bidirectional": False}),
]
SMALL = {"svm": {"num_features": 512}}  # where the default is too large for a quick test


def build(name: str, shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    spec = zoo.DataSpec(shape, classes, mean=(0.3,) * shape[0], std=(0.4,) * shape[0])
    return zoo.create(name, spec, **SMALL.get(name, {}), **options)


def batch(shape: tuple[int, int, int], size: int = 8, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(size, *shape, generator=generator), torch.arange(size) % classes


def cases():
    yield from ((name, {}) for name in MODELS)
    yield from VARIANTS


@pytest.fixture(params=cases(), ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def case(request):
    return request.param


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_shape_and_class_count(case, shape):
    name, options = case
    for classes in (2, 7):
        model = build(name, shape, classes, **options).eval()
        log_proba = zoo.classify(model, batch(shape)[0])
        assert log_proba.shape == (8, classes)
        torch.testing.assert_close(log_proba.exp().sum(1), torch.ones(8))


def test_gradient_reaches_every_parameter(case):
    name, options = case
    model = build(name, **options)
    with torch.no_grad():  # a head that starts at zero sends no gradient back before its first step
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    x, labels = batch((1, 28, 28))
    model.loss(model(x), labels).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


def test_no_gradient_crosses_the_batch(case):
    """In eval mode an image's logits depend on that image alone."""
    name, options = case
    model = build(name, **options).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = batch((1, 28, 28), 4)[0].requires_grad_()
    model(x)[1].square().sum().backward()
    assert x.grad[1].abs().max() > 0
    assert x.grad[[0, 2, 3]].abs().max() == 0


def test_independent_of_batch_size(case):
    name, options = case
    model = build(name, **options)
    x = batch((1, 28, 28))[0]
    together = zoo.classify(model, x, batch_size=8)
    torch.testing.assert_close(zoo.classify(model, x, batch_size=1), together, atol=1e-5, rtol=1e-4)


def test_overfits_one_batch(case):
    name, options = case
    model = build(name, **options)
    x, labels = batch((1, 28, 28))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        loss = model.loss(model(x), labels)
        loss.backward()
        optimizer.step()
        if loss < 0.05 and (zoo.classify(model, x).argmax(1) == labels).all():
            return
    pytest.fail(f"the loss is still {loss}")


def test_saved_and_loaded_is_the_same(case, tmp_path):
    name, options = case
    model = build(name, (3, 32, 32), 5, **options)
    for buffer_or_parameter in model.state_dict().values():
        if buffer_or_parameter.is_floating_point():
            buffer_or_parameter.add_(0.1 * torch.rand(buffer_or_parameter.shape))
    x = batch((3, 32, 32))[0]
    again = zoo.load(zoo.save(model, tmp_path / "released"))
    assert type(again) is type(model)
    assert not again.training
    assert torch.equal(zoo.classify(again, x), zoo.classify(model, x))


def test_same_seed_same_model(case):
    name, options = case
    first, second = (build(name, **options).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", MODELS)
def test_yaml_is_the_constructor(name):
    """The YAML lists every option with the constructor's default, and nothing else."""
    values = yaml.safe_load((CONFIGS / "model" / f"{name}.yaml").read_text())
    values = {key: value for key, value in values.items() if key not in ("defaults", "_allowed_", "name")}
    defaults = {
        key: list(value) if isinstance(value, tuple) else value for key, value in registry.options(name).items()
    }
    assert values == defaults


def test_readme_shows_the_capabilities():
    assert str(zoo.capabilities()) in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", MODELS)
def test_capabilities_hold(name):
    """What the table promises can be asked, and answers with the stated shape; the rest is refused."""
    model = build(name)
    x, _ = batch((1, 28, 28), 4)
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.5
    questions = {
        "classify": (lambda: zoo.classify(model, x), (4, 10)),
        "classify_missing": (lambda: zoo.classify(model, x, observed), (4, 10)),
        "sample": (lambda: zoo.sample(model, 4), (4, 1, 28, 28)),
        "log_prob": (lambda: zoo.log_prob(model, x), (4,)),
        "encode": (lambda: zoo.encode(model, x), (4, None)),
        "reconstruct": (lambda: zoo.reconstruct(model, x), (4, 1, 28, 28)),
        "impute": (lambda: zoo.impute(model, x, observed, n=2), (2, 4, 1, 28, 28)),
        "anomaly_score": (lambda: zoo.anomaly_score(model, x), (4,)),
    }
    row = zoo.capabilities(name)[name]
    assert set(row) == set(questions)
    for key, (ask, shape) in questions.items():
        assert row[key] == capability.support(model, key)
        if row[key] == "no":
            with pytest.raises(zoo.ZooError, match="models that can"):
                ask()
            continue
        answer = ask()
        assert len(answer.shape) == len(shape), key
        assert all(
            size in (want, size if want is None else want) for size, want in zip(answer.shape, shape, strict=True)
        ), key
        assert answer.isfinite().all(), key
        assert not answer.requires_grad, key


@pytest.mark.parametrize("name", MODELS)
def test_resumed_equals_straight(name, tmp_path):
    """Two epochs and two resumed ones end where four end, bit for bit: weights, average, data order, randomness."""
    options = [
        f"model={name}",
        "experiment=debug",
        "data.augment={shift: 1, flip: true, erase: 0.5}",
        "learner.ema=0.9",
        "learner.schedule.name=none",
        "logger=none",
        *(f"model.{key}={value}" for key, value in SMALL.get(name, {}).items()),
    ]
    straight = run_train(tmp_path / "straight", *options, "trainer.max_epochs=4")
    parted = run_train(tmp_path / "parted", *options, "trainer.max_epochs=2")
    resumed = run_train(None, f"resume={parted}", "trainer.max_epochs=4")
    assert resumed == parted
    first, second = (torch.load(run / "last.ckpt", weights_only=True) for run in (straight, parted))
    assert first["global_step"] == second["global_step"] == 20
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key
    rows = [(run / "metrics.csv").read_text().splitlines() for run in (straight, parted)]
    drop = rows[0][0].split(",").index("images_per_second")
    assert [[*row.split(",")[:drop], *row.split(",")[drop + 1 :]] for row in rows[0]] == [
        [*row.split(",")[:drop], *row.split(",")[drop + 1 :]] for row in rows[1]
    ]
