"""GPT: its probabilities sum to one, no token sees a later one, and a cache changes nothing."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import run_train

import zoo
from zoo.base.blocks import channel_dropout, rms_norm, rotated, squared_relu
from zoo.errors import ConfigError
from zoo.spec import END, UNKNOWN

SIZES = {"width": 16, "heads": 2, "num_layers": 2}


def spec_of(symbols="ab", length=4, classes=1, ends=True, context=0):
    settings = {"reads": "characters"} | ({} if ends else {"context": context})
    vocabulary = (*symbols, UNKNOWN, *([END] if ends else []))
    return zoo.DataSpec(
        (1, 1, length), classes, kind="tokens", values="tokens", vocabulary=vocabulary, settings=settings
    )


def made(spec, texts=None, **options):
    """A model with weights drawn at random, all of them, in float64; of n-grams of ``texts``, if any."""
    model = zoo.create("gpt", spec, **{**SIZES, **options}).eval()
    if texts is not None:
        model.initialize([texts], torch.Generator())
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return model.double()


def drawn(*shape, size):
    return torch.randint(size, shape, generator=torch.Generator().manual_seed(1))


def every_text(spec):
    """All texts that end within the window, and those that are cut at its end, ``(N, 1, 1, T)``."""
    end, length = spec.token(END), spec.shape[2]
    symbols = [number for number in range(len(spec.vocabulary)) if number != end]
    texts = [
        [*text, end] + [-1] * (length - count - 1)
        for count in range(length)
        for text in itertools.product(symbols, repeat=count)
    ]
    texts += [list(text) for text in itertools.product(symbols, repeat=length)]
    return torch.tensor(texts)[:, None, None]


@pytest.fixture
def counted():
    """Texts of two classes to count n-grams of."""
    spec = spec_of(classes=2)
    texts = every_text(spec)[::3]
    return texts, torch.arange(len(texts)) % 2


@pytest.mark.parametrize("options", [{}, {"bigram": False, "recent": 1}, {"ngram": 3, "share": 0.3}])
def test_probabilities_of_all_texts_sum_to_one(options, counted):
    spec = spec_of(classes=2)
    model = made(spec, counted, **options)
    joint = model.log_joint(every_text(spec))
    given = joint - model.log_prior
    assert given.exp().sum(0).tolist() == pytest.approx([1, 1], abs=1e-6 if "ngram" in options else 1e-12)
    assert torch.allclose(zoo.classify(model, every_text(spec)[:9]), joint[:9].log_softmax(1))  # Bayes' rule
    assert not torch.allclose(joint[:, 0], joint[:, 1])


def test_no_token_sees_a_later_one():
    """The gradient of what is predicted at t is zero at t and later, and at no earlier place."""
    model = made(spec_of(length=6), bigram=False)
    x, groups = drawn(1, 6, size=4), torch.zeros(1, dtype=torch.long)
    kept = []

    def keep(module, arguments, output):
        kept.append(output.requires_grad_(True))

    handle = model.embedding.register_forward_hook(keep)
    logits = model.logits(x, groups)
    handle.remove()
    for t in range(6):
        (gradient,) = torch.autograd.grad(logits[0, t, 1], kept[0], retain_graph=True)
        reached = gradient[0].flatten(1).abs().sum(1) > 0  # the start stands before the first token
        assert reached.tolist() == [place <= t for place in range(6)]


@pytest.mark.parametrize("options", [{}, {"ngram": 2, "share": 0.4}])
@pytest.mark.parametrize("length", [8, 7, 2, 1])
def test_a_cache_changes_nothing_within_the_window_and_beyond(length, options):
    """Token by token, several at a time and all at once, with a cache and without."""
    spec = spec_of("abc", length, ends=False)
    model = made(spec, (drawn(9, 1, 1, length, size=4), torch.zeros(9, dtype=torch.long)), **options)
    x, groups = drawn(3, 30, size=4), torch.zeros(3, dtype=torch.long)
    expected = model.logits(x, groups).log_softmax(2)
    for cached, steps in itertools.product((True, False), ([1] * 29, [0, 3, 4, 1, 1, 9, 2, 8, 0])):
        model.cached = cached
        state, place = model.begin(groups), 0
        for step in steps:
            logits, state = model.advance(state, x[:, place : place + step])
            place += step
            assert torch.allclose(logits.log_softmax(1), expected[:, place], atol=1e-6 if options else 1e-12, rtol=0)
        assert (state.caches is not None) == cached
    assert torch.allclose(model.token_log_prob(x, groups), expected.gather(2, x[..., None])[..., 0], atol=1e-6)


def test_beyond_the_window_its_last_half_is_a_beginning():
    model = made(spec_of("abc", 8, ends=False))
    x, groups = drawn(2, 13, size=4), torch.zeros(2, dtype=torch.long)
    logits = model.logits(x, groups)
    for place, first in ((7, 0), (8, 4), (9, 4), (11, 4), (12, 8)):
        alone = torch.cat([x[:, first:place], x[:, :1]], 1)
        assert torch.allclose(logits[:, place], model.logits(alone, groups)[:, -1], atol=1e-12)


def test_a_state_can_be_gone_on_with_twice():
    model = made(spec_of("abc", 8, ends=False))
    groups = torch.zeros(1, dtype=torch.long)
    _, state = model.advance(model.begin(groups), torch.tensor([[0, 1]]))
    first, after = model.advance(state, torch.tensor([[2]]))
    model.advance(state, torch.tensor([[1]]))
    again, _ = model.advance(state, torch.tensor([[2]]))
    assert torch.equal(first, again)
    assert after.tokens.tolist() == [[0, 1, 2]]


def test_a_mixture_is_one_at_each_token_and_the_network_learns_alone(counted, tmp_path):
    spec = spec_of(classes=2)
    model, alone = made(spec, counted, ngram=3, share=0.25), made(spec, counted)
    alone.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("ngram.")})
    ngram = zoo.create("ngram", spec, order=3).double()
    ngram.initialize([counted], torch.Generator())
    x, groups = drawn(5, 4, size=4), torch.tensor([0, 1, 0, 1, 1])
    expected = 0.75 * alone.token_log_prob(x, groups).exp() + 0.25 * ngram.token_log_prob(x, groups).exp()
    assert torch.allclose(model.token_log_prob(x, groups).exp(), expected, atol=1e-6)
    losses = [each.losses(x[:, None, None], groups)["loss"] for each in (model, alone)]
    assert torch.equal(*losses)
    losses[0].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert torch.equal(zoo.load(zoo.save(model, tmp_path / "released")).ngram.grams.own.double(), model.ngram.grams.own)


def test_at_first_every_token_is_as_likely():
    model = zoo.create("gpt", spec_of("abc"), **SIZES)
    x = drawn(3, 4, size=5)
    assert torch.allclose(model.token_log_prob(x, x[:, 0] * 0), torch.tensor(-math.log(5)))


@pytest.mark.parametrize(
    "change",
    [
        {"width": 20},
        {"num_layers": 1},
        {"heads": 1},
        {"dropout": 0.5},
        {"recent": 1},
        {"conditional": False},
        {"bigram": False},
        {"ngram": 2, "share": 0.5},
        {"ngram": 2, "share": 0.1},
    ],
    ids=str,
)
def test_each_option_has_an_effect(change, counted):
    """On the probabilities, and of dropout on the loss of training."""
    results = []
    for options in ({}, change):
        model = made(spec_of(classes=2), counted, **options)
        torch.manual_seed(0)
        loss = model.train().losses(*counted)["loss"]
        results.append((loss.item(), model.eval().log_prob(counted[0]).sum().item()))
    first, second = zip(*results, strict=True)
    assert (first[0] != first[1]) if "dropout" in change else (second[0] != second[1])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"width": 18, "heads": 4}, "multiple of 2 · heads=8"),
        ({"num_layers": 0}, "at least 1"),
        ({"dropout": 1.0}, r"\[0, 1\)"),
        ({"ngram": 3}, "share=0.0 is that of ngram=3"),
        ({"share": 0.3}, "share=0.3 is that of ngram=0"),
        ({"ngram": 5, "share": 0.3}, "ngram=5 looks at the 4 tokens before"),
    ],
)
def test_refused(options, expected):
    with pytest.raises((ValueError, ConfigError), match=expected):
        zoo.create("gpt", spec_of(length=8, ends=False, context=3), **{**SIZES, **options})


def test_dropout_is_of_values_at_all_places():
    """A share of the values of each text, others in the next one; what is left is larger by as much as is missing."""
    block = made(spec_of(), dropout=0.25, width=400, heads=1, num_layers=1).blocks[0]
    h = torch.ones(3, 5, 400, dtype=torch.float64)
    assert channel_dropout(h, block.dropout, block.training) is h
    torch.manual_seed(0)
    kept = channel_dropout(h, block.train().dropout, block.training)
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    first, second, third = kept[:, 0]
    assert not any(torch.equal(*pair) for pair in ((first, second), (first, third), (second, third)))
    assert set(kept.unique().tolist()) == {0.0, 1 / 0.75}
    assert kept.mean().item() == pytest.approx(1, abs=0.1)


def test_rotations_tell_of_distances_alone():
    """q·k depends on how far apart two places are; the length of either stays."""
    turns = zoo.create("gpt", spec_of(length=40), width=8, heads=1, num_layers=1).double().turns
    q, k = torch.randn(2, 1, 1, 1, 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    of_q, of_k = (rotated(each.expand(1, 40, 1, 1, 8), turns)[0, :, 0, 0] for each in (q, k))
    products = of_q @ of_k.T
    for distance in (0, 3, 17):
        diagonal = products.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-6)
    assert torch.allclose(of_q.norm(dim=1), q.norm().expand(40), atol=1e-6)
    assert products.diagonal(3)[0] != products.diagonal(4)[0]


def test_norm_and_squared_rectifier_are_torchs():
    x = torch.randn(4, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    assert torch.allclose(rms_norm(x), F.rms_norm(x, (6,), eps=0.0), atol=1e-12)
    assert torch.allclose(squared_relu(x), F.relu(x).square(), atol=1e-12)
    assert torch.autograd.gradcheck(rms_norm, x)
    assert torch.autograd.gradcheck(squared_relu, x)
    assert not rms_norm(torch.zeros(2, 3)).any()


def test_a_run_of_muon_without_validation_is_resumed_bit_for_bit(tmp_path):
    """Of running text, of which nothing is held out; the last epoch is what is kept."""
    words = ["model=gpt", "data=pydoc", "data.val_share=0.0", "data.length=90", "data.context=8", "model.width=8"]
    words += ["model.heads=1", "model.num_layers=1", "model.ngram=2", "model.share=0.2", "learner.schedule.name=none"]
    words += ["learner.optimizer.name=Muon", "trainer.limit_train_batches=3", "trainer.accelerator=cpu", "logger=none"]
    whole = run_train(tmp_path / "whole", *words, "trainer.max_epochs=2")
    half = run_train(tmp_path / "half", *words, "trainer.max_epochs=1")
    run_train(None, f"resume={half}", "trainer.max_epochs=2")
    expected, got = (zoo.load(run / "last.ckpt") for run in (whole, half))
    for key, value in expected.state_dict().items():
        assert torch.equal(value, got.state_dict()[key]), key
    assert bool(expected.ngram.initialized)


@pytest.mark.parametrize("width", [3, 128])
def test_nothing_has_a_length_of_nothing(width):
    """Zero stays zero in training as elsewhere, and sends no gradient that is none."""
    x = torch.zeros(2, width, requires_grad=True)
    y = rms_norm(x)
    assert torch.equal(y, torch.zeros(2, width))
    y.sum().backward()
    assert x.grad.isfinite().all()
    small = torch.full((1, width), 1e-15)
    torch.testing.assert_close(rms_norm(small.requires_grad_()).detach(), torch.ones(1, width))
