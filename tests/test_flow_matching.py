"""Flow matching: solvers against solutions, velocities and densities of Gaussians, codes, guidance, completions."""

import csv
import itertools
import json
import math

import pytest
import torch
from conftest import run_train
from torch.distributions import Normal

import zoo
from zoo.base import ode
from zoo.base.velocity import Squares
from zoo.data.splits import draw, load_splits
from zoo.learners import learner_class
from zoo.metrics.likelihood import dequantise
from zoo.models.flow_matching import FlowMatching
from zoo.registry import load_with_source
from zoo.tasks.evaluate import describe, evaluate, splits_for

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = zoo.DataSpec((1, 6, 5), 3, mean=(0.4,), std=(0.3,))
SMALL = {"channels": [8, 16], "blocks": 1}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def made(spec=SPEC, std=0.3, **options):
    torch.manual_seed(0)
    model = zoo.create("flow_matching", spec, **{**SMALL, **options})
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std * max(parameter[0].numel(), 1) ** -0.5 if parameter.dim() > 1 else 0.1)
    return model.double().eval()


# Solvers


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("ab2", 2)])
@pytest.mark.parametrize("bent", [False, True])
def test_halving_steps_divides_the_error_by_two_to_the_order(solver, order, bent):
    """dx/dt = x cos t, x = e^(sin t), on even and on uneven times."""

    def error(steps):
        times = torch.linspace(0, 2, steps + 1, dtype=torch.float64)
        times = times.square() / 2 if bent else times
        x = ode.solve(lambda x, t: x * t.cos(), torch.ones(1, dtype=torch.float64), times, solver)
        return abs(float(x) - math.exp(math.sin(2)))

    assert error(200) / error(400) == pytest.approx(2**order, rel=0.05)


@pytest.mark.parametrize("solver", ode.SOLVERS)
def test_a_constant_velocity_is_followed_exactly_and_counted(solver):
    calls = []

    def field(x, t):
        calls.append(float(t))
        return torch.full_like(x, 3.0)

    times = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64)
    x = torch.zeros(2, dtype=torch.float64)
    torch.testing.assert_close(ode.solve(field, x, times, solver), torch.full_like(x, 3.0))
    assert len(calls) == (6 if solver == "heun" else 3)


# What is learnt


def gaussian_velocity(x, t, mean, std):
    """E[x₁ − x₀ | x_t = x] of independent N(0, 1) and N(mean, std²), elementwise."""
    variance = (1 - t) ** 2 + (t * std) ** 2
    return mean + (t * std**2 - (1 - t)) / variance * (x - t * mean)


def test_the_preconditioning_is_the_best_linear_guess_and_leaves_a_target_of_variance_one():
    model = zoo.create("flow_matching", SPEC, **SMALL).double()
    seen = {}
    model.network.forward = lambda x, times, groups: seen.setdefault("zero", torch.zeros_like(x))
    generator = seeded()
    data, noise = (torch.randn(20_000, 1, 6, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    for time in (0.0, 0.2, 0.5, 0.9, 1.0):
        x = torch.lerp(noise, data, time)
        v = model.velocity(x, torch.full((len(x),), time, dtype=torch.float64), torch.zeros(len(x), dtype=torch.long))
        torch.testing.assert_close(v, gaussian_velocity(x, time, 0.0, 1.0))
        target = (data - noise - v) * math.sqrt((1 - time) ** 2 + time**2)
        assert float(target.var()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("network", [{}, {"network": "dit", "channels": [16]}])
def test_the_velocity_between_two_gaussians_is_learnt(network):
    """Of a class each: pixels of N(±1, 1/4), as standardised."""
    torch.manual_seed(0)
    spec = zoo.DataSpec((1, 4, 4), 2)
    model = zoo.create("flow_matching", spec, **SMALL | network)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(600):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / 600)
        labels = torch.arange(128) % 2
        x = torch.randn(128, 1, 4, 4) / 2 + (2 * labels[:, None, None, None] - 1)
        optimizer.zero_grad()
        model.losses(x, labels)["loss"].backward()
        optimizer.step()
    model.eval()
    labels = torch.arange(200) % 2
    mean = 2.0 * labels[:, None, None, None] - 1
    for time in (0.1, 0.5, 0.8):
        x = time * (mean + torch.randn(200, 1, 4, 4) / 2) + (1 - time) * torch.randn(200, 1, 4, 4)
        with torch.no_grad():
            v = model.velocity(x, torch.full((200,), time), labels)
        expected = gaussian_velocity(x, time, mean, 0.5)
        assert float((v - expected).square().mean() / expected.var()) < 0.05


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 3, 2)])
def test_the_density_of_a_gaussian_becomes_exact_as_steps_grow(shape):
    spec = zoo.DataSpec(shape, 1, mean=(0.3,), std=(0.5,))
    model = zoo.create("flow_matching", spec, **SMALL).double().eval()
    model.velocity = lambda x, times, groups: gaussian_velocity(x, times.view(-1, 1, 1, 1), 0.2, 0.7)
    x = torch.rand(5, *shape, generator=seeded(), dtype=torch.float64)
    exact = Normal(0.3 + 0.5 * 0.2, 0.5 * 0.7).log_prob(x).flatten(1).sum(1)
    errors = [float((model.log_prob(x, steps=steps) - exact).abs().max()) for steps in (16, 32, 64, 128)]
    assert errors[-1] < 1e-3
    assert all(3.5 < more / less < 4.5 for more, less in itertools.pairwise(errors))


def test_the_density_is_that_of_the_class_without_guidance_and_of_pixels_as_they_are():
    """Of channels that vary differently, and a Gaussian a class."""
    spec = zoo.DataSpec((2, 2, 2), 2, mean=(0.3, 0.6), std=(0.5, 0.1))
    model = zoo.create("flow_matching", spec, guidance=3.0, **SMALL).double().eval()
    means = torch.tensor([0.2, -0.5, 0.0], dtype=torch.float64)  # the last one of no class

    def velocity(x, times, groups):
        return gaussian_velocity(x, times.view(-1, 1, 1, 1), means[groups].view(-1, 1, 1, 1), 0.7)

    model.velocity = velocity
    x, labels = torch.rand(4, *spec.shape, generator=seeded(), dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    for of, groups in ((labels, labels), (None, torch.full((4,), 2))):
        mean = model.mean + model.std * means[groups].view(-1, 1, 1, 1)
        exact = Normal(mean, 0.7 * model.std.expand_as(mean)).log_prob(x).flatten(1).sum(1)
        torch.testing.assert_close(zoo.log_prob(model, x, of, steps=200), exact, atol=1e-2, rtol=0)


def test_classes_are_told_apart_by_a_bound_in_nats():
    """Of Gaussians whose velocity is known, log p(x | 1) − log p(x | 0) on average over pictures."""
    spec = zoo.DataSpec((1, 6, 6), 2)
    model = zoo.create("flow_matching", spec, **SMALL).double().eval()
    model.velocity = lambda x, times, groups: gaussian_velocity(
        x, times.view(-1, 1, 1, 1), (0.4 * groups - 0.2).view(-1, 1, 1, 1), 1.0
    )
    labels = torch.arange(600) % 2
    noise = torch.randn(600, *spec.shape, generator=seeded(), dtype=torch.float64)
    x = (0.4 * labels - 0.2)[:, None, None, None] + noise
    first, second = (Normal(mean, 1.0).log_prob(x).flatten(1).sum(1) for mean in (-0.2, 0.2))
    bounds = [model.bound(x, torch.full((600,), group)) for group in (0, 1)]
    exact, told = second - first, bounds[1] - bounds[0]
    slope = float((exact * told).sum() / exact.square().sum())
    seen = (1 / (1 + math.exp(1.5))) - (1 / (1 + math.exp(5.5)))  # what log odds from −2.75 to −0.75 tell of it
    assert slope == pytest.approx(seen, abs=0.03)
    assert float((told - seen * exact).std() / exact.std()) < 0.3


def test_the_density_of_many_values_has_the_trace_along_a_direction_right_on_average():
    """Of a linear field dx/dt = A x, whose trace is that of A."""
    shape = (1, 6, 5)
    model = zoo.create("flow_matching", zoo.DataSpec(shape, 1), **SMALL).double().eval()
    generator = seeded()
    matrix = torch.randn(30, 30, generator=generator, dtype=torch.float64) / 20
    model.velocity = lambda x, times, groups: (x.flatten(1) @ matrix.T).view_as(x)
    x = torch.rand(4000, *shape, generator=generator, dtype=torch.float64)
    z = x.flatten(1) @ torch.linalg.matrix_exp(-matrix).T
    exact = Normal(0.0, 1.0).log_prob(z).sum(1) - matrix.trace()
    error = model.log_prob(x, steps=8) - exact
    assert float(error.std()) > 0.1
    assert abs(float(error.mean())) < 4 * float(error.std()) / math.sqrt(len(x))


# What can be asked


@pytest.mark.parametrize("options", [{}, {"conditional": False}, {"network": "dit", "channels": [16]}])
def test_pictures_are_encoded_and_come_back(options):
    model, generator = made(**options), seeded()
    x = torch.rand(4, *SPEC.shape, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0]) if model.log_prior is not None else None
    errors = []
    for steps in (16, 32, 64, 128):
        model.steps = steps
        with torch.no_grad():
            back = model.decode(model.encode(x, labels), labels)
        errors.append(float((back - x).abs().max()))
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[-1] < 2e-3


@pytest.mark.parametrize("solver", ode.SOLVERS)
def test_a_sample_is_a_function_of_its_noise_and_its_class_alone(solver):
    model = made(solver=solver, steps=4)
    noise = model.noise(6, seeded())
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        together, alone = model.generate(noise, labels), model.generate(noise[2:3], labels[2:3])
        other = model.generate(noise[2:3], labels[:1])
    torch.testing.assert_close(together[2:3], alone)
    assert not torch.allclose(alone, other)


def test_guidance_of_one_is_none_and_more_of_it_goes_on_in_its_direction():
    model, told = made(steps=1, solver="euler"), torch.tensor([1, 2])
    model.mean.fill_(0.5)
    model.std.fill_(0.01)  # nothing is clipped
    noise = model.noise(2, seeded())

    def drawn(guidance, labels=told):
        model.guidance = guidance
        with torch.no_grad():
            return model.decode(noise, labels)

    plain, without = drawn(1.0), drawn(1.0, None)
    torch.testing.assert_close(drawn(0.0), without)
    torch.testing.assert_close(drawn(1.0 + 1e-9), plain, atol=1e-7, rtol=0)
    torch.testing.assert_close(drawn(3.0), without + 3 * (plain - without))


def test_a_hidden_class_is_as_none_in_training():
    model = made()
    x = torch.rand(4, *SPEC.shape, dtype=torch.float64)

    def loss(labels):
        torch.manual_seed(3)
        return float(model.losses(x, labels)["loss"].detach())

    hidden = loss(torch.full((4,), -1))
    assert hidden != loss(torch.zeros(4, dtype=torch.long))
    with torch.no_grad():
        embedded = model.network.told.group.weight
        embedded.copy_(embedded[model.untold].clone().expand_as(embedded))
    assert loss(torch.zeros(4, dtype=torch.long)) == pytest.approx(hidden)


def test_labels_travel_with_their_pictures():
    """A class of black pictures and one of white ones: samples of each are of their colour."""
    torch.manual_seed(0)
    spec = zoo.DataSpec((1, 4, 4), 2, mean=(0.5,), std=(0.5,))
    model = zoo.create("flow_matching", spec, **SMALL)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    labels = torch.arange(64) % 2
    for _ in range(150):
        optimizer.zero_grad()
        model.losses(labels.float()[:, None, None, None].expand(64, 1, 4, 4), labels)["loss"].backward()
        optimizer.step()
    samples = zoo.sample(model, 20, torch.arange(20) % 2, seeded())
    assert float((samples.flatten(1).mean(1) - torch.arange(20) % 2).abs().max()) < 0.2
    answers = zoo.classify(model, labels.float()[:, None, None, None].expand(64, 1, 4, 4))
    assert torch.equal(answers.argmax(1), labels)
    mixed = zoo.impute(model, torch.ones(6, 1, 4, 4), torch.arange(4)[None, None, :, None] < 2, n=2)
    assert mixed.shape == (2, 6, 1, 4, 4)
    assert float(mixed.mean()) > 0.9


def test_what_is_seen_stays_and_what_is_hidden_is_never_read():
    model = made(steps=5)
    x, observed = torch.rand(3, *SPEC.shape, dtype=torch.float64), torch.rand(3, *SPEC.shape) < 0.5

    def completed(x):
        with torch.no_grad():
            return model.impute(x, observed, n=2, generator=seeded())

    done = completed(x)
    torch.testing.assert_close(done[:, observed], x[observed].expand(2, -1))
    assert torch.equal(done, completed(torch.where(observed, x, torch.nan)))
    assert not torch.equal(done[0], done[1])


def test_the_way_begins_with_noise_and_ends_with_the_sample():
    model = made(steps=6)
    noise = model.noise(2, seeded())
    with torch.no_grad():
        way = model.way(noise, torch.tensor([0, 1]))
        torch.testing.assert_close(way[-1], model.decode(noise, torch.tensor([0, 1])))
        few = model.way(noise, torch.tensor([0, 1]), 3)
    assert way.shape == (7, 2, *SPEC.shape)
    assert torch.equal(few, way[[0, 3, 6]])
    torch.testing.assert_close(way[0], model.possible(model.mean + model.std * noise.view_as(way[0])))


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 6, 4), (2, 2, 1)])
@pytest.mark.parametrize(("patch", "whole"), [(1, 1), (2, 1), (3, 2)])
def test_squares_of_any_size_come_back(shape, patch, whole):
    squares = Squares(shape, patch, whole)
    x = torch.rand(2, *shape)
    values = squares.split(x)
    assert values.shape[1] % whole == values.shape[2] % whole == 0
    assert torch.equal(squares.join(values), x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "mlp"}, "network must be unet or dit, not 'mlp'"),
        ({"solver": "rk4"}, "solver must be ab2, heun, euler, not 'rk4'"),
        ({"network": "dit"}, r"a transformer has one level: channels=\[16\]"),
        ({"channels": []}, "channels, of each level, patch and blocks must be at least 1"),
        ({"dropout": 1.0}, r"dropout in \[0, 1\)"),
        ({"steps": 0}, "steps must be at least 1 and guidance at least 0, not 0 and 1.0"),
        ({"guidance": math.nan}, "guidance at least 0, not 16 and nan"),
        ({"patch": 40}, "patch=40 and 2 levels of channels are for pictures of at least 20 pixels, not 6×5"),
        ({"channels": [8, 33]}, "channels=33 with attention must be a multiple of 2"),
    ],
)
def test_impossible_options_are_told(options, words):
    with pytest.raises(zoo.ZooError, match=words):
        zoo.create("flow_matching", SPEC, **SMALL | options)


def test_the_epoch_of_the_least_error_is_kept(tmp_path):
    """As validation tells it, which is not of the likelihood."""
    words = ("model.channels=[4]", "model.blocks=1", "model.steps=2", "learner.ema=0", "learner.optimizer.lr=0.1")
    often = ("trainer.max_epochs=4", "trainer.check_val_every_n_epoch=1")
    run = run_train(tmp_path, "model=flow_matching", "data=digits", "logger=none", *often, *words)
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    errors = [float(row["val/loss"]) for row in rows]
    summary = json.loads((run / "summary.json").read_text())
    assert len(set(errors)) == 4
    assert "accuracy" in summary["test"]
    assert "log_prob" not in summary["test"]
    model, source = load_with_source(run)
    split = splits_for(model.spec, source).val
    loss = model.validate(split.x(), split.labels)["loss"].mean()
    assert float(loss) == pytest.approx(min(errors), rel=1e-4)
    assert {path.stem for path in (run / "figures").iterdir()} >= {"samples", "interpolations", "way"}


def test_a_density_and_a_model_that_is_none_have_learners_of_their_own(tmp_path):
    with pytest.raises(zoo.ConfigError, match="flow_matching is no density: learner=objective trains it"):
        learner_class("likelihood")(zoo.create("flow_matching", SPEC, **SMALL))
    with pytest.raises(zoo.ConfigError, match="naive_bayes is a density: learner=likelihood trains it"):
        learner_class("objective")(zoo.create("naive_bayes", SPEC))


def test_an_estimate_is_told_where_more_steps_leave_it_and_else_left_out(monkeypatch):
    model, split = made(zoo.DataSpec(mean=(0.3,), std=(0.4,))).float(), load_splits("digits").test
    told = evaluate(model, split.take(slice(40)), estimated=3).metrics
    assert told["log_prob_n"] == 3
    assert told["density"] == "estimate, dequantised, 128 steps, told no class"
    assert told["log_prob_change"] < 0.01
    assert any(line.startswith("log p(x) ≈ ") for line in describe(told))
    again = zoo.log_prob(model, dequantise(draw(split.take(slice(40)), 3).images, seeded()), steps=128)
    assert told["log_prob"] == pytest.approx(float(again.mean()), rel=1e-5)
    monkeypatch.setattr(FlowMatching, "density_steps", 1)
    left = evaluate(model, split.take(slice(40)), estimated=3).metrics
    assert left["log_prob_change"] > 0.01
    assert "log_prob" not in left
    assert "log p(x) is left out: twice as many steps move it by" in describe(left)[-1]
    assert "log_prob_change" not in evaluate(model, split.take(slice(40))).metrics
    with pytest.raises(zoo.ZooError, match="naive_bayes takes no steps of a solver"):
        zoo.log_prob(zoo.create("naive_bayes", SPEC), torch.rand(1, *SPEC.shape), steps=3)
