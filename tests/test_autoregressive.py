"""The autoregressive model of pictures: exact, causal, and the same with a cache and without."""

import itertools
import math

import pytest
import torch
from conftest import ROOT

import zoo
from zoo.base.blocks import channel_dropout
from zoo.base.causal import CausalNetwork, Reading
from zoo.base.particles import resampled, survivors
from zoo.base.patches import Patches, first_seen, turned
from zoo.base.pixels import Binary, Levels
from zoo.data.splits import load_splits
from zoo.models import autoregressive

SIZES = {"channels": 8, "blocks": 3}
OPTIONS = [{}, {"attention": 0}, {"orders": 4}, {"orders": 8, "attention": 3}]


def made(shape=(1, 4, 4), classes=2, values="binary", **options):
    """A model with weights drawn at random, all of them, in float64."""
    model = zoo.create("autoregressive", zoo.DataSpec(shape, classes, values=values), **{**SIZES, **options})
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if name != "head.bias":  # of levels, which are in [0, 1]
            torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return model.double().eval()


def drawn(count, shape=(1, 4, 4), levels=2, seed=1):
    """Pictures of some levels, float64 in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(levels, (count, *shape), generator=generator).double() / (levels - 1)


def every_picture(height, width):
    every = [*itertools.product((0.0, 1.0), repeat=height * width)]
    return torch.tensor(every, dtype=torch.float64).view(-1, 1, height, width)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("options", [{}, {"patch": [1, 1]}, {"patch": [2, 1], "orders": 4}, {"attention": 0}])
def test_all_pictures_together_have_probability_one(options, conditional):
    model = made((1, 2, 4), 3, conditional=conditional, **options)
    assert model.density == zoo.Likelihood("exact", "binary")
    every = every_picture(2, 4)
    assert zoo.log_prob(model, every).exp().sum().item() == pytest.approx(1, abs=1e-6)
    assert hasattr(model, "classify") == conditional
    if conditional:
        for label in range(3):
            assert zoo.log_prob(model, every, torch.full((256,), label)).exp().sum().item() == pytest.approx(1)
        joint = model.log_joint(every)
        assert torch.allclose(zoo.classify(model, every), joint.log_softmax(1))  # Bayes' rule
        assert not torch.allclose(joint[:, 0], joint[:, 1])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_256_levels_of_each_pixel_sum_to_one(channels):
    """Of each given those before it in its patch, whatever the state; and what is drawn is distributed so."""
    pixels = 2 * channels
    head = Levels(pixels, 5, hidden=7, mixtures=3).double()
    for name, parameter in head.named_parameters():
        if name != "bias":
            torch.nn.init.normal_(parameter, std=0.5, generator=seeded())
    states = torch.randn(4, 5, generator=seeded(), dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64) / 255
    for pixel in range(pixels):
        before = torch.rand(4, 256, pixels, generator=seeded(pixel), dtype=torch.float64).round(decimals=1)
        before[:, :, : pixel + 1] = before[:, :1, : pixel + 1]
        before[:, :, pixel] = levels
        each = head.pixel_log_prob(states[:, None].expand(-1, 256, -1), before)[..., pixel]
        assert each.exp().sum(1).tolist() == pytest.approx([1] * 4, abs=1e-9)
    assert torch.allclose(head.log_prob(states, before[:, 7]), head.pixel_log_prob(states, before[:, 7]).sum(1))


def test_levels_are_drawn_with_their_probability():
    head = Levels(2, 3, hidden=4, mixtures=3).double()
    for name, parameter in head.named_parameters():
        if name != "bias":
            torch.nn.init.normal_(parameter, std=0.5, generator=seeded(1))
    state = torch.randn(1, 3, generator=seeded(1), dtype=torch.float64)
    n = 40_000
    values, weights = head.draw(state.expand(n, -1), torch.zeros(n, 2).double(), torch.zeros(n, 2) > 0, seeded())
    assert torch.equal(weights, torch.zeros(n, dtype=torch.float64))
    assert torch.equal((values * 255).round() / 255, values)
    levels = torch.arange(256, dtype=torch.float64) / 255
    first = torch.stack([levels, torch.zeros(256)], 1)
    expected = head.pixel_log_prob(state.expand(256, -1), first)[:, 0].exp()
    found = (values[:, 0] * 255).long().bincount(minlength=256) / n
    common = expected > 5e-4
    error = (expected * (1 - expected) / n).sqrt()
    assert ((found - expected).abs()[common] < 5 * error[common]).all()
    # and the second, given the first: what it is more than expected has nothing to do with the first any more
    pairs = torch.cartesian_prod(levels, levels)
    table = head.pixel_log_prob(state.expand(len(pairs), -1), pairs)[:, 1].view(256, 256).exp()
    means = (table @ levels)[(values[:, 0] * 255).round().long()]
    assert means.std() > 0.02
    left = (values[:, 1] - means) * (values[:, 0] - values[:, 0].mean())
    assert left.mean().abs() < 5 * left.std() / math.sqrt(n)
    assert (means * (values[:, 0] - values[:, 0].mean())).mean().abs() > 20 * left.std() / math.sqrt(n)


@pytest.mark.parametrize("values", ["binary", "grey"])
@pytest.mark.parametrize("options", OPTIONS)
def test_no_gradient_reaches_own_or_later_pixels(options, values):
    """What is predicted of a patch depends on all patches before it, in the order of reading, and on no other."""
    likelihood = "bernoulli" if values == "binary" else "discretized_logistic"
    model = made((1, 6, 6), 2, values, likelihood=likelihood, **options)
    x, groups = drawn(1, (1, 6, 6)), torch.zeros(1, dtype=torch.long)
    for order in range(model.orders):
        orders = torch.tensor([order])
        told = model.head.told(model.patches.split(turned(x, orders, model.orders))).requires_grad_()
        states = model.network(told, model._conditions(groups, orders))
        for t, (row, column) in enumerate(itertools.product(range(3), repeat=2)):
            (gradient,) = torch.autograd.grad(states[0, row, column, 0], told, retain_graph=True)
            reached = (gradient[0].abs().sum(2) > 0).flatten()
            assert not reached[t:].any()
            assert reached[:t].all()


@pytest.mark.parametrize("levels", [2, 256])
@pytest.mark.parametrize("options", [*OPTIONS, {"patch": [1, 2], "blocks": 1}, {"dropout": 0.5}])
def test_patch_by_patch_with_noise_for_a_future_is_all_at_once(options, levels):
    likelihood = "bernoulli" if levels == 2 else "discretized_logistic"
    model = made((1, 4, 4), 2, "grey", likelihood=likelihood, **options).float()
    x = drawn(5, levels=levels).float()
    groups, orders = torch.arange(5) % 2, torch.arange(5) % model.orders
    expected = model.patch_log_prob(x, groups, orders)
    values = model.patches.split(turned(x, orders, model.orders)).flatten(1, 2)
    for t in range(model.patches.count):
        mixed = torch.rand(values.shape, generator=seeded(t)).round()
        mixed[:, : t + 1] = values[:, : t + 1]
        future = turned(model.patches.join(mixed.view(5, *model.patches.grid, -1)), orders, model.orders, back=True)
        found = model.patch_log_prob(future, groups, orders)[:, t]
        assert torch.allclose(found, expected[:, t], atol=1e-4, rtol=0)


@pytest.mark.parametrize("values", ["binary", "grey"])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_cache_changes_no_sample(options, values):
    likelihood = "bernoulli" if values == "binary" else "discretized_logistic"
    model = made((1, 6, 6), 3, values, likelihood=likelihood, **options)
    labels = torch.arange(12) % 3
    samples = zoo.sample(model, 12, labels, seeded())
    seen = torch.rand(12, 1, 6, 6, generator=seeded()) < 0.5
    filled = zoo.impute(model, samples, seen, n=2, generator=seeded())
    model.cached = False
    assert torch.equal(zoo.sample(model, 12, labels, seeded()), samples)
    assert torch.equal(zoo.impute(model, samples, seen, n=2, generator=seeded()), filled)
    assert torch.equal(filled[:, seen], samples.expand(2, -1, -1, -1, -1)[:, seen])
    if values == "binary":
        assert set(samples.unique().tolist()) == {0.0, 1.0}
    else:
        assert torch.equal((samples * 255).round() / 255, samples)
        assert 0 <= samples.min() < samples.max() <= 1


def test_reading_a_grid_in_parts_is_reading_it_at_once():
    network = CausalNetwork(3, (4, 5), 6, 3, 2, attention=2).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=seeded())
    features = torch.randn(2, 4, 5, 3, generator=seeded(), dtype=torch.float64)
    conditions = torch.tensor([[0], [1]])
    expected = network(features, conditions)
    reading = Reading(network, conditions)
    reading.rows(features, 2)
    assert torch.allclose(reading.columns(features, 5), expected[:, :2])
    for row in (2, 3):
        reading.rows(features)
        for column in range(5):
            assert torch.allclose(reading.columns(features)[:, 0, 0], expected[:, row, column])
            if (row, column) == (2, 3):  # other examples from here on
                features, expected = features.flip(0), expected.flip(0)
                reading.take(torch.tensor([1, 0]))


@pytest.mark.parametrize("options", [{}, {"orders": 4}, {"patch": [1, 2]}])
def test_samples_are_those_of_the_model(options):
    """Frequencies of all pictures of a toy, of a class and of all, against their probabilities."""
    model, every, n = made((1, 2, 2), 2, **options), every_picture(2, 2), 20_000
    places = 2 ** torch.arange(4)
    numbers = (every.flatten(1).long() * places).sum(1)
    for labels in (None, torch.ones(n, dtype=torch.long)):
        found = zoo.sample(model, n, labels, seeded())
        found = (found.flatten(1).long() * places).sum(1).bincount(minlength=16)[numbers] / n
        expected = zoo.log_prob(model, every, None if labels is None else labels[:16]).exp()
        assert ((found - expected).abs() < 5 * (expected * (1 - expected) / n).sqrt() + 1e-9).all()


def conditional_of(model, x, seen):
    """p(hidden | seen) of all pictures that are ``x`` where ``seen``, by enumeration."""
    every = every_picture(*x.shape[2:])
    every = every[(every == x)[:, seen[0]].all(1)]
    log_p = zoo.log_prob(model, every)
    return every, (log_p - log_p.logsumexp(0)).exp()


def frequencies(draws, every):
    same = (draws[:, None] == every[None]).flatten(2).all(2)
    return same.double().mean(0)


@pytest.mark.parametrize("options", [{}, {"attention": 0}])
def test_what_follows_is_imputed_exactly(options):
    """The last patches of a picture: draws are as often as p(hidden | seen) says, class and all, with one particle."""
    model, n = made((1, 2, 4), 3, particles=1, **options), 20_000
    x, seen = drawn(1, (1, 2, 4)), torch.ones(1, 1, 2, 4, dtype=torch.bool)
    seen[..., 2:] = False
    every, expected = conditional_of(model, x, seen)
    assert len(every) == 16
    found = frequencies(zoo.impute(model, x, seen, n=n, generator=seeded())[:, 0], every)
    assert ((found - expected).abs() < 5 * (expected * (1 - expected) / n).sqrt()).all()


@pytest.mark.parametrize("orders", [1, 4])
def test_what_precedes_is_imputed_nearly(orders):
    """Many particles come near p(hidden | seen) for any mask, a few do not."""
    model, x = made((1, 2, 4), 3, particles=1, orders=orders), drawn(1, (1, 2, 4))
    seen = torch.tensor([[1, 0, 0, 1], [0, 0, 1, 1]]).bool().view(1, 1, 2, 4)
    every, expected = conditional_of(model, x, seen)
    distance = {}
    for particles, n, pictures in ((1, 1, 8000), (400, 40, 200)):
        model.particles = particles
        draws = zoo.impute(model, x.expand(pictures, -1, -1, -1), seen, n=n, generator=seeded()).flatten(0, 1)
        distance[particles] = (frequencies(draws, every) - expected).abs().sum().item() / 2
    assert distance[400] < 0.03 < 0.05 < distance[1]


@pytest.mark.parametrize("orders", [1, 4])
def test_what_is_seen_before_and_behind_and_how_frequent_classes_are_counts(orders, monkeypatch):
    """Many particles, some of which die, against enumeration; with classes that are not equally frequent."""
    model = made((1, 2, 6), 3, patch=[2, 1], orders=orders, particles=600)
    for parameter in model.parameters():
        parameter.data *= 2.5
    model.set_prior(torch.tensor([5.0, 0.0, 2.0]))
    x = drawn(1, (1, 2, 6), seed=2)
    seen = torch.tensor([[1, 0, 0, 1, 1, 1], [1, 0, 0, 1, 1, 1]]).bool().view(1, 1, 2, 6)
    died = []

    def watched(*arguments):
        chosen = survivors(*arguments)
        died.append(chosen is not None)
        return chosen

    monkeypatch.setattr(autoregressive, "survivors", watched)
    every, expected = conditional_of(model, x, seen)
    draws = model.impute(x.expand(100, -1, -1, -1), seen.expand(100, -1, -1, -1), 100, seeded()).flatten(0, 1)
    assert any(died)
    assert (draws == x)[:, seen[0]].all()  # each as it was turned
    assert (frequencies(draws, every) - expected).abs().sum().item() / 2 < 0.04


@pytest.mark.parametrize("patch", [[1, 1], [1, 3]])
def test_hidden_levels_are_imputed_as_enumeration_says(patch):
    """Between seen pixels, of patches of one and of the same patch."""
    model = made((1, 1, 3), 2, "grey", likelihood="discretized_logistic", patch=patch, particles=300)
    smaller = model.network, model.head.level, model.head.before
    for parameter in (*(p for part in smaller for p in part.parameters()), model.head.out):  # so that particles meet
        parameter.data *= 0.5
    x, seen = torch.tensor([51.0, 0.0, 204.0]).view(1, 1, 1, 3) / 255, torch.ones(1, 1, 1, 3, dtype=torch.bool)
    x, seen[..., 1] = x.double(), False
    every = x.expand(256, -1, -1, -1).clone()
    every[..., 1] = torch.arange(256).view(256, 1, 1) / 255
    log_p = zoo.log_prob(model, every)
    share = (log_p - log_p.logsumexp(0)).exp()
    draws = zoo.impute(model, x.expand(60, -1, -1, -1), seen, n=50, generator=seeded())[..., 1].flatten()
    levels = torch.arange(256) / 255
    mean = (share * levels).sum()
    deviation = (share * (levels - mean).square()).sum().sqrt()
    assert draws.mean().item() == pytest.approx(mean.item(), abs=6 * deviation.item() / math.sqrt(3000))
    assert draws.std().item() == pytest.approx(deviation.item(), rel=0.1)


def test_exact_draws_do_not_depend_on_their_company():
    """Completions of a picture whose end is hidden are independent, whatever is hidden of another one."""
    model, x = made((1, 4, 4), 2), drawn(2)
    seen = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    seen[0, :, 2:], seen[1, :, :2] = False, False
    alone, together = (zoo.impute(model, x[:n], seen[:n], n=400, generator=seeded())[:, 0] for n in (1, 2))
    assert torch.equal(alone, together)


@pytest.mark.parametrize("options", [{}, {"likelihood": "discretized_logistic", "orders": 4}, {"conditional": False}])
def test_of_nothing_nothing_is_said(options):
    model, nothing = made((1, 4, 4), 2, "grey", **options), torch.zeros(0, 1, 4, 4).double()
    seen = torch.zeros(0, 1, 4, 4) > 0
    assert zoo.log_prob(model, nothing).shape == (0,)
    assert zoo.sample(model, 0).shape == (0, 1, 4, 4)
    assert zoo.impute(model, nothing, seen, n=3).shape == (3, 0, 1, 4, 4)
    assert model.surprise(nothing).shape == (0, 1, 4, 4)
    if "conditional" not in options:
        assert zoo.classify(model, nothing).shape == (0, 2)
        assert zoo.log_prob(model, nothing, torch.zeros(0, dtype=torch.long)).shape == (0,)


def test_what_it_does_not_know_is_refused():
    x, labels = drawn(2), torch.tensor([0, 1])
    with pytest.raises(zoo.ZooError, match="knows no classes"):
        made(conditional=False).log_prob(x, labels)
    for asked in ("log_prob", "log_joint", "classify"):
        with pytest.raises(zoo.ZooError, match="cannot integrate hidden values out: vae, gmm"):
            getattr(made(), asked)(x, observed=x > 0)


def test_the_likelier_particles_go_on():
    weights = torch.tensor([0.0, 0.0, 0.0, 0.0, 10.0, 0.0, 0.0, 0.0])
    index, even = survivors(weights, 4, seeded())
    assert index[:4].tolist() == [0, 1, 2, 3]  # as many count as there are
    assert index[4:].tolist() == [4, 4, 4, 4]
    assert even.tolist() == [False] * 4 + [True] * 4
    assert survivors(weights[:4], 4, None) is None


def test_particles_are_resampled_in_proportion():
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().repeat(3000, 1)
    drawn = resampled(weights, 4, seeded())
    share = drawn.flatten().bincount() / drawn.numel()
    assert share.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.01)
    for number, weight in enumerate((0.1, 0.2, 0.3, 0.4)):  # 4 w times, rounded up or down
        times = (drawn == number).sum(1)
        assert {math.floor(4 * weight), math.ceil(4 * weight)} >= set(times.tolist())
    first = drawn[:, 0].bincount(minlength=4) / len(drawn)  # each of the draws is one in proportion
    assert first.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.05)
    even = resampled(torch.zeros(5, 8), 6, seeded())
    assert all(len(set(row)) == 6 for row in even.tolist())  # none twice
    assert resampled(torch.zeros(0, 4), 3).shape == (0, 3)


@pytest.mark.parametrize("options", [{}, {"likelihood": "discretized_logistic"}, {"orders": 2}, {"conditional": False}])
def test_surprise_is_the_likelihood_pixel_by_pixel(options):
    model = made((1, 4, 4), 3, "grey", **options)
    x = drawn(6, levels=256)
    surprise = model.surprise(x)
    assert surprise.shape == x.shape
    if "orders" not in options:
        assert torch.allclose(surprise.sum((1, 2, 3)), -zoo.log_prob(model, x))
    else:  # of each order its own, whose mean is not that of the mixture
        assert (surprise.sum((1, 2, 3)) > -zoo.log_prob(model, x)).all()
    if "likelihood" not in options:
        assert (surprise > 0).all()


def test_pixels_of_a_patch_multiply_to_its_probability():
    head = Binary(3, 4).double()
    torch.nn.init.normal_(head.logits.weight, generator=seeded())
    states, values = torch.randn(9, 4, generator=seeded()).double(), drawn(9, (3,))
    each = head.pixel_log_prob(states, values)
    assert torch.allclose(each.sum(1), head.log_prob(states, values))
    for pixel in range(3):  # p(pixel | before), by summing what comes after
        nothing = torch.zeros(9, 3) > 0
        until, before = nothing.clone(), nothing.clone()
        until[:, : pixel + 1] = before[:, :pixel] = True
        log_p = [head.draw(states, values, seen, seeded())[1] for seen in (until, before)]
        assert torch.allclose(each[:, pixel], log_p[0] - log_p[1])


@pytest.mark.parametrize("order", range(8))
def test_orders_are_turned_and_turned_back(order):
    x = torch.arange(9.0).view(1, 1, 3, 3).repeat(2, 1, 1, 1)
    orders = torch.tensor([order, 0])
    there = turned(x, orders, 8)
    assert torch.equal(turned(there, orders, 8, back=True), x)
    assert torch.equal(there[1], x[1])
    expected = x[0].transpose(1, 2) if order >= 4 else x[0]
    expected = expected.flip(2) if order % 2 else expected
    assert torch.equal(there[0], expected.flip(1) if order // 2 % 2 else expected)


def test_patches_before_the_first_hidden_pixel():
    seen = torch.ones(2, 3, 2, dtype=torch.bool)
    seen[0, 1, 1] = seen[1, 0, 0] = False
    assert first_seen(seen).tolist() == [[True, False, False], [False, False, False]]


def test_losses_are_of_one_order_each_and_likelihoods_of_all():
    model = made((1, 4, 4), 2, orders=2)
    x, labels = drawn(50), torch.arange(50) % 2
    torch.manual_seed(0)
    losses = model.losses(x, labels)
    torch.manual_seed(0)
    orders = torch.randint(2, (50,))
    expected = -model.patch_log_prob(x, labels, orders).sum(1).mean()
    assert losses["loss"].item() == pytest.approx(expected.item())
    assert losses["log_likelihood"].item() == pytest.approx(-expected.item() - math.log(2), rel=1e-6)
    both = torch.stack([model.patch_log_prob(x, labels, torch.full((50,), o)).sum(1) for o in range(2)])
    assert torch.allclose(zoo.log_prob(model, x, labels), both.logsumexp(0) - math.log(2))


def test_grey_pictures_are_drawn_as_binary_ones_or_are_levels():
    model = made((1, 4, 4), 2, "grey")
    assert model.density == zoo.Likelihood("exact", "binarised")
    assert made((1, 4, 4), 2, "grey", likelihood="discretized_logistic").density == zoo.Likelihood("exact", "discrete")
    x, labels = torch.rand(10, 1, 4, 4, generator=seeded()).double(), torch.zeros(10, dtype=torch.long)
    assert torch.equal(zoo.log_prob(model, x), zoo.log_prob(model, x))
    assert model.losses(x, labels)["loss"] == model.losses(x, labels)["loss"]
    model.train()
    assert model.losses(x, labels)["loss"] != model.losses(x, labels)["loss"]


def test_dropout_zeroes_whole_channels_in_training():
    block = CausalNetwork(2, (3, 3), 4, 1, 1, dropout=0.5).blocks[0].train()
    h = torch.ones(20, 3, 3, 4)
    thinned = channel_dropout(h, block.dropout, block.training)
    assert torch.equal(thinned, thinned[:, :1, :1].expand_as(h))
    assert set(thinned.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(channel_dropout(h, block.eval().dropout, block.training), h)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "discretized_logistic"}, "does not fit binary pixels: bernoulli does"),
        ({"orders": 3}, "orders must be 1, 2, 4 or 8"),
        ({"orders": 8}, "orders=8 needs pictures as high as wide, not 4×6: orders=4"),
        ({"attention": 4}, "attention=4, layers behind some of the blocks, must be from 0 to 3"),
        ({"channels": 33}, "channels=33 with attention must be a multiple of 2, its heads"),
        ({"patch": [3, 2]}, r"patch=\[3,2\] of 1×4×6 pixels"),
        ({"patch": [4, 6]}, "at most 12 binary values"),
        ({"dropout": 1.0}, "dropout in"),
        ({"particles": 0}, "particles at least 1"),
        ({"blocks": 0}, "blocks must be at least 1"),
    ],
)
def test_what_cannot_be_is_said(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.create("autoregressive", zoo.DataSpec((1, 4, 6), 2, values="binary"), **{**SIZES, **options})


def test_colours_are_read_channel_after_channel():
    model = made((3, 4, 4), 2, "grey", likelihood="discretized_logistic")
    samples = zoo.sample(model, 3, generator=seeded())
    assert samples.shape == (3, 3, 4, 4)
    assert zoo.log_prob(model, samples).isfinite().all()
    x = drawn(2, (3, 4, 4), 256)
    assert Patches((3, 4, 4), (2, 2)).split(x).shape == (2, 2, 2, 12)
    assert torch.equal(Patches((3, 4, 4), (2, 2)).split(x)[0, 0, 0, :4], x[0, 0, :2, :2].flatten())


@pytest.mark.parametrize(("data", "reached", "right"), [("mnist", -76.987, 198), ("fashion_mnist", -1507.008, 172)])
def test_released_weights_say_what_they_did(data, reached, right, real_data, monkeypatch):
    """Of the first 200 test pictures, which are likelier than all."""
    monkeypatch.setenv("ZOO_DATA", str(real_data))
    model, test = zoo.load(ROOT / "pretrained" / f"autoregressive-{data}"), load_splits(data).test.take(slice(200))
    with torch.no_grad():
        joint = model.log_joint(test.x())
    assert joint.logsumexp(1).mean().item() == pytest.approx(reached, abs=2e-3)
    assert int((joint.argmax(1) == test.labels).sum()) == right
