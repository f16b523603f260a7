"""The learning-rate finder: on a loss whose best rate is known, and from the command line."""

import pytest
import torch
from conftest import CONFIGS, run_script

from zoo.config import settings
from zoo.run import rates

WORDS = ("model=logistic_regression", "data=digits", "trainer=cpu")


def test_the_rate_rises_by_the_same_factor_each_step():
    found = rates.tried(settings(WORDS, CONFIGS), 1e-4, 1e-2, 9)
    logs = torch.tensor(found.rates).log10()
    torch.testing.assert_close(logs, torch.linspace(-4, -2, 9)[: len(logs)], atol=1e-3, rtol=0)


def test_where_it_falls_the_fastest():
    """A loss that falls at once between two rates, and rises beyond another."""
    points = [(10**-k, 1.0) for k in range(9, 5, -1)] + [
        (1e-5, 0.2),
        (1e-4, 0.15),
        (1e-3, 0.14),
        (1e-2, 9.0),
        (0.1, 9.0),
    ]
    found = rates._smoothed([(float(rate), loss) for rate, loss in points], diverged=False)
    assert found.steepest == pytest.approx(1e-5)
    assert found.ended
    assert found.rates[-1] == pytest.approx(1e-3)


def test_plain_descent_on_a_quadratic_rises_beyond_two_over_its_curvature():
    """The rate of gradient descent that diverges is known: of the mean loss it is found to within a few steps."""
    low, high, steps = 1e-3, 1e3, 400
    x, points = 1.0, []
    for step in range(steps):
        rate = low * (high / low) ** (step / (steps - 1))
        points.append((rate, 0.5 * 4 * x * x + 1e-3))
        x -= rate * 4 * x + 1e-6
        x = max(min(x, 1e6), -1e6)
    found = rates._smoothed(points, diverged=False)
    assert found.ended
    assert 0.5 < found.rates[-1] < 5  # 2 / 4, some steps late: what has fallen to nothing has to grow first
    assert found.steepest < 0.5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("model=gmm", "data=digits"), "has no rate"), (("model=dcgan", "data=digits"), "has no rate"),
        ((*WORDS, "high=1e-7"), "it is below"), (("model=cnm",), "did you mean 'cnn'"), (("steps=2",), "steps"),
    ],
)  # fmt: skip
def test_what_has_no_rate(words, reason, capsys):
    with pytest.raises(SystemExit) as end:
        run_script("rate.py", *words)
    assert end.value.code == 2
    assert reason in capsys.readouterr().err


def test_the_command_says_it_and_keeps_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_script("rate.py", *WORDS, "steps=40", f"out={tmp_path}")
    said = capsys.readouterr().out
    assert "it falls the fastest at learner.optimizer.lr=" in said
    assert [path.name for path in tmp_path.iterdir()] == ["rates.png"]
