"""What comes next, of pictures: by hidden Markov models, whose answers are known in closed form. Those of symbols are
in ``test_hmm_symbols.py``."""

import pytest
import torch
from test_hmm import CASES, build, generator, images, name, tight

import zoo
from zoo import capability

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("reads", ["rows", "columns", "pixels"])
@torch.no_grad()
def test_the_end_is_never_looked_at(reads):
    model = build((3, 4, 5), reads=reads, num_states=3).float()
    x = images((3, 4, 5), 3).float()
    count = model.reading.count
    for steps in (1, count - 1, count):
        hidden = torch.arange(count) >= count - steps
        mask = model.reading.example(hidden[None, :, None].expand(3, -1, model.reading.values))
        drawn = zoo.forecast(model, x, steps, generator())
        assert drawn.shape == x.shape
        assert torch.equal(torch.where(mask, 0, drawn), torch.where(mask, 0, x))
        assert (drawn != x)[mask].all()
        for end in (0.3, torch.nan):
            assert torch.equal(zoo.forecast(model, torch.where(mask, end, x), steps, generator()), drawn)
        assert not torch.equal(zoo.forecast(model, x, steps, generator(1)), drawn)


@pytest.mark.parametrize("case", [case for case in CASES if "lags" not in case], ids=name)
@torch.no_grad()
def test_forecasts_are_draws_of_what_is_hidden(case):
    """The moments of what is drawn are those of the conditional distribution."""
    model, x = tight(**case), 0.2 + 0.6 * images(n=2)
    seen = torch.ones_like(x, dtype=torch.bool)
    seen[:, :, 1:] = False
    drawn = zoo.forecast(model, x.repeat_interleave(6000, 0), 2, generator()).view(2, 6000, 1, 3, 2)
    mean = model.conditional_mean(x, seen)
    deviation = drawn.std(1)
    assert ((drawn.mean(1) - mean).abs() < 4.5 * deviation / 6000**0.5 + 1e-6).all()
    fresh = zoo.impute(model, x, seen, n=6000, generator=generator(1))
    for place in range(2):
        mine, other = (of.flatten(1)[:, 2:].T.cov() for of in (drawn[place], fresh[:, place]))
        scale = other.diagonal().sqrt()
        torch.testing.assert_close(mine / scale / scale[:, None], other / scale / scale[:, None], rtol=0, atol=0.08)


@torch.no_grad()
def test_lags_look_back_from_where_the_beginning_ends():
    """Without noise to speak of, each row is the regression on the two before it, in the state that it is in."""
    model = build((1, 5, 2), classes=1, lags=2, num_states=1, covariance="diag", per_class=False)
    model.weight.mul_(0.2)
    model.weight[..., -1] = 0.4
    model.scale.fill_(-16)
    x = 0.2 + 0.6 * images((1, 5, 2), 3)
    for steps in (2, 5):
        rows = [torch.zeros(3, 2).double()] * 2 + [*x[:, 0, : 5 - steps].unbind(1)]
        for _ in range(steps):
            f = torch.cat([rows[-1], rows[-2], torch.ones(3, 1).double()], 1)
            rows.append(f @ model.weight[0, 0].T)
        expected = torch.stack(rows[2:], 1)[:, None]
        torch.testing.assert_close(zoo.forecast(model, x, steps, generator()), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_what_is_missing_of_the_beginning_stays_so():
    model, x = build((1, 4, 3), num_states=3).float(), images((1, 4, 3), 3).float()
    x[0, 0, 1, 2] = torch.nan
    drawn = zoo.forecast(model, x, 2, generator())
    torch.testing.assert_close(drawn[:, :, :2], x[:, :, :2], rtol=0, atol=0, equal_nan=True)
    assert drawn[:, :, 2:].isfinite().all()
    lagged = build((1, 4, 3), lags=1).float()
    with pytest.raises(zoo.ZooError, match="lags=0 can"):
        zoo.forecast(lagged, x, 2)
    x[0, 0, 1, 2], x[1, 0, 3, 0] = 0.5, torch.nan
    assert zoo.forecast(lagged, x, 2).isfinite().all()


def test_impossible_forecasts_are_explained():
    model = build((1, 4, 3)).float()
    x = images((1, 4, 3), 2).float()
    with pytest.raises(zoo.ZooError, match="from 1 to 4, the rows that are read, not 5"):
        zoo.forecast(model, x, 5)
    for steps in (0, -1, 1.5, True):
        with pytest.raises(zoo.ZooError, match="steps must be a whole number of at least 1"):
            zoo.forecast(model, x, steps)
    with pytest.raises(zoo.ZooError, match=r"mlp cannot forecast; models that can: .*hmm"):
        zoo.forecast(zoo.create("mlp"), x, 1)
    assert capability.support(model, "forecast") == "native"


def test_chunks_and_the_global_stream():
    model, x = build((1, 4, 3)).float(), images((1, 4, 3), 5).float()
    torch.manual_seed(3)
    first = zoo.forecast(model, x, 2)
    assert not torch.equal(first, zoo.forecast(model, x, 2))
    assert torch.equal(torch.rand(3), torch.rand(3, generator=generator(3)))
    assert zoo.forecast(model, x[:0], 2).shape == (0, 1, 4, 3)
    assert zoo.forecast(model, x, 2, batch_size=2).shape == x.shape
