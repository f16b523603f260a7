"""Muon: what it does against its definition, which parameters it takes for matrices, and how it goes on."""

import copy
import math

import pytest
import torch
from conftest import run_train
from torch import nn

import zoo
from zoo.errors import ConfigError
from zoo.learners.optimization import QUINTIC, Muon, build_optimizer, build_schedule, kinds_of, orthogonalized


class Network(nn.Module):
    """One of each kind of parameter; two hidden matrices have one shape, a third its transpose."""

    outer = ("head",)

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.conv = nn.Conv2d(3, 4, 3)
        self.first, self.second, self.back = nn.Linear(8, 6), nn.Linear(8, 6, bias=False), nn.Linear(6, 8)
        self.cell = nn.GRU(8, 3)
        self.norm = nn.LayerNorm(8)
        self.free = nn.Parameter(torch.randn(3, 3))
        self.head = nn.Linear(8, 2)


INNER = ["conv.weight", "first.weight", "second.weight", "back.weight", "cell.weight_ih_l0", "cell.weight_hh_l0"]


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network()


def give_gradients(model, step):
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def polynomial(s, steps=5):
    a, b, c = QUINTIC
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return s


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 5)])
def test_each_singular_value_goes_through_the_polynomial(shape):
    """U S Vᵀ becomes U p(S / |S|) Vᵀ, to the precision of float64."""
    x = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for steps in (1, 5):
        left, values, right = torch.linalg.svd(x, full_matrices=False)
        scaled = polynomial(values / values.norm(dim=1, keepdim=True), steps)
        expected = left @ torch.diag_embed(scaled) @ right
        assert torch.allclose(orthogonalized(x, steps), expected, atol=1e-12, rtol=0)


def test_singular_values_come_near_one():
    """Those above 0.01 of the norm lie in [0.68, 1.14], as is said; a matrix of zeros stays one."""
    bounds = polynomial(torch.linspace(0.01, 1, 100_001, dtype=torch.float64))
    assert 0.68 < bounds.min() < 0.69
    assert 1.13 < bounds.max() < 1.14
    x = torch.randn(2, 32, 80, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalized(x))
    assert values.min() > 0.68
    assert values.max() < 1.14
    assert not orthogonalized(torch.zeros(1, 3, 4)).any()


def test_steps_are_those_of_the_definition():
    """Against a plain loop by SVD and formula over each parameter, and torch's AdamW; over steps, with decay."""
    model = network().double()
    slow = {name: value.detach().clone() for name, value in model.named_parameters()}
    others = [nn.Parameter(value) for name, value in slow.items() if name not in INNER]
    adamw = torch.optim.AdamW(others, lr=0.01, betas=(0.8, 0.9), weight_decay=0.1, eps=1e-6)
    options = {"lr": 0.02, "adamw_lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1, "momentum": 0.9}
    optimizer = build_optimizer(model, "Muon", **options)
    averages = {name: torch.zeros_like(slow[name]) for name in INNER}
    for step in range(3):
        give_gradients(model, step)
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        optimizer.step()
        for parameter, name in zip(others, [name for name in slow if name not in INNER], strict=True):
            parameter.grad = gradients[name]
        adamw.step()
        for name in INNER:
            averages[name] = 0.9 * averages[name] + 0.1 * gradients[name]
            ahead = 0.1 * gradients[name] + 0.9 * averages[name]
            rows = ahead.reshape(len(ahead), -1)
            left, values, right = torch.linalg.svd(rows, full_matrices=False)
            direction = left @ torch.diag(polynomial(values / values.norm())) @ right * 0.2 * math.sqrt(max(rows.shape))
            slow[name] = (1 - 0.02 * 0.1) * slow[name] - 0.02 * direction.reshape(ahead.shape)
    expected = slow | dict(zip([name for name in slow if name not in INNER], others, strict=True))
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter, expected[name], atol=1e-12, rtol=0), name


def test_without_nesterov_the_average_is_the_step():
    model, other = network(), network()
    for each, nesterov in ((model, False), (other, True)):
        give_gradients(each, 0)
        optimizer = build_optimizer(each, "Muon", lr=0.1, nesterov=nesterov)
        optimizer.step()
        give_gradients(each, 1)
        optimizer.step()
    average = 0.95 * 0.05 * gradient(0) + 0.05 * gradient(1)
    step = orthogonalized(average[None])[0] * 0.2 * math.sqrt(8) * 0.1
    assert torch.allclose(model.first.weight, network().first.weight - moved(0) - step, atol=1e-5)
    assert not torch.allclose(model.first.weight, other.first.weight, atol=1e-3)


def gradient(step):
    model = network()
    give_gradients(model, step)
    return model.first.weight.grad


def moved(step):
    return orthogonalized(gradient(step)[None])[0] * 0.2 * math.sqrt(8) * 0.1


def test_which_parameters_are_inner():
    """Weights of layers: no bias, gain, table of rows, free parameter or head; nor what shares weights with a table."""
    model = network()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    inner, others = (group["params"] for group in kinds_of(model))
    assert [names[id(parameter)] for parameter in inner] == INNER
    assert {names[id(parameter)] for parameter in others} == set(names.values()) - set(INNER)
    model.second.weight = nn.Parameter(torch.zeros(5, 8))
    model.embedding.weight = model.second.weight
    assert id(model.second.weight) not in {id(parameter) for parameter in kinds_of(model)[0]["params"]}


@pytest.mark.parametrize(
    ("name", "options", "outer"),
    [
        ("mlp", {"hidden_sizes": (6,)}, ["head.weight"]),
        ("cnn", {}, ["head.weight"]),
        ("rnn", {"hidden_size": 4}, ["head.weight"]),
        ("vae", {"network": "mlp", "hidden_sizes": (6,), "latent_dim": 2}, ["decoder_head.2.weight"]),
        ("vae", {"network": "conv", "channels": (4,), "latent_dim": 2}, ["decoder.last.weight"]),
        (
            "m2",
            {"network": "mlp", "hidden_sizes": (6,), "latent_dim": 2},
            ["decoder_head.2.weight", "classifier.1.2.weight"],
        ),
    ],
)
def test_outputs_of_models_are_no_inner_matrices(name, options, outer):
    spec = zoo.DataSpec((1, 8, 8), 3)
    model = zoo.create(name, spec, **options)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    inner = {names[id(parameter)] for parameter in kinds_of(model)[0]["params"]}
    of_layers = {
        f"{path}.{key}"
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.RNNBase)
        for key, parameter in module.named_parameters(recurse=False)
        if parameter.dim() > 1
    }
    assert of_layers - inner == set(outer)


def test_players_of_a_gan():
    model = zoo.create("dcgan", zoo.DataSpec((1, 8, 8), 3), conditional=True, channels=4)
    last = [key for key, value in model.generator.named_parameters() if value.dim() == 4][-1]
    for player, outer in ((model.generator, {last}), (model.discriminator, {"head", "classes"})):
        inner = {id(parameter) for parameter in kinds_of(player)[0]["params"]}
        names = {key for key, parameter in player.named_parameters() if parameter.dim() > 1 and id(parameter) in inner}
        assert names
        assert not any(key.startswith(tuple(outer)) for key in names)


def test_both_rates_follow_a_schedule():
    optimizer = build_optimizer(network(), "Muon", lr=0.02, adamw_lr=0.005)
    schedule = build_schedule(optimizer, 100, "OneCycleLR", pct_start=0.1, anneal_strategy="linear", div_factor=10)
    rates = []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step() if len(rates) < 100 else None
    rates = torch.tensor(rates, dtype=torch.float64)
    assert torch.allclose(rates[:, 0], 4 * rates[:, 1])
    assert rates[0, 0] == pytest.approx(0.002)
    assert rates[9, 0] == pytest.approx(0.02)
    assert torch.allclose(rates[9:, 0].diff(), rates[9:, 0].diff()[0].expand(90), atol=1e-9)
    assert rates[-1, 0] < 1e-6


def test_a_rise_of_one_step_is_none_by_zero():
    """torch divides by the steps of the rise less one, here by 0.05 · 20 - 1."""
    optimizer = build_optimizer(network(), "SGD", lr=1.0)
    schedule = build_schedule(optimizer, 20, "OneCycleLR", pct_start=0.05, div_factor=10, cycle_momentum=False)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step() if len(rates) < 20 else None
    assert rates[0] == pytest.approx(0.1)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[1] > 0.9


def test_one_rate_is_enough():
    optimizer = build_optimizer(network(), "Muon", lr=0.01)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.01]


def test_it_goes_on_bit_for_bit():
    """The state of an optimiser, through a file, continues as if it had never stopped."""
    whole = network()
    optimizer = build_optimizer(whole, "Muon", lr=0.01, weight_decay=0.01)
    for step in range(4):
        if step == 2:
            half, kept = copy.deepcopy(whole), copy.deepcopy(optimizer.state_dict())
        give_gradients(whole, step)
        optimizer.step()
    resumed = build_optimizer(half, "Muon", lr=0.5)
    resumed.load_state_dict(kept)
    for step in (2, 3):
        give_gradients(half, step)
        resumed.step()
    for expected, got in zip(whole.parameters(), half.parameters(), strict=True):
        assert torch.equal(expected, got)


def test_what_has_no_gradient_stays():
    model = network()
    give_gradients(model, 0)
    model.first.weight.grad = model.norm.weight.grad = None
    before = copy.deepcopy(model.state_dict())
    build_optimizer(model, "Muon").step()
    still = {key for key, value in model.state_dict().items() if torch.equal(value, before[key])}
    assert still == {"first.weight", "norm.weight"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"lr": -1}, "lr and adamw_lr"),
        ({"momentum": 1.0}, r"in \[0, 1\)"),
        ({"betas": (0.9,)}, "two betas"),
        ({"steps": 0}, "whole number"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"momntum": 0.9}, "did you mean 'momentum'"),
    ],
)
def test_refused(options, expected):
    with pytest.raises(ConfigError, match=expected):
        build_optimizer(network(), "Muon", **options)


def test_a_model_without_inner_matrices_is_refused():
    with pytest.raises(ConfigError, match="this model has none"):
        build_optimizer(zoo.create("logistic_regression", zoo.DataSpec((1, 2, 2), 2)), "Muon")
    with pytest.raises(ValueError, match="groups"):
        Muon(network().parameters())
    with pytest.raises(ValueError, match="two axes"):
        Muon([{"params": [nn.Parameter(torch.zeros(3))], "inner": True}])


def test_a_run_is_resumed_bit_for_bit(tmp_path):
    words = ["model=mlp", "model.hidden_sizes=[8]", "data.train_size=200", "data.val_size=50", "logger=none"]
    words += ["trainer.accelerator=cpu", "learner.schedule.name=none", "learner.optimizer.name=Muon"]
    whole = run_train(tmp_path / "whole", *words, "trainer.max_epochs=2")
    half = run_train(tmp_path / "half", *words, "trainer.max_epochs=1")
    run_train(None, f"resume={half}", "trainer.max_epochs=2")
    expected, got = (zoo.load(run / "last.ckpt").state_dict() for run in (whole, half))
    assert all(torch.equal(value, got[key]) for key, value in expected.items())
