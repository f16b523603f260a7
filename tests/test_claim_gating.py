"""The claim of gating: how far back a network reads, on one whose memory is known, and how it is judged."""

import math

import pytest
import torch

import zoo
from zoo.base.sequence import Steps
from zoo.textbook.claim import NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import gating
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


class Linear(zoo.Model):
    """h_t = λ h_{t-1} + w·x_t over rows; two logits, h and -h - 1."""

    def __init__(self, decay):
        super().__init__()
        self.decay = decay
        self.weight = torch.tensor([3.0, 4.0])

    @property
    def reading(self):
        return Steps((1, 28, 2), "rows")

    def forward(self, x):
        state = torch.zeros(len(x))
        for step in self.reading.of(x).unbind(1):
            state = self.decay * state + step @ self.weight
        return torch.stack([state, -state - 1], 1)


@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0, 1.1])
def test_the_reach_of_a_linear_network_is_its_decay_to_the_power_of_the_steps(decay):
    model = Linear(decay).train()
    influence = gating.reach(model, torch.rand(7, 1, 12, 2))
    expected = 5 * decay ** torch.arange(11, -1, -1.0, dtype=torch.float64)  # ‖w‖ = 5
    torch.testing.assert_close(influence, expected, rtol=1e-5, atol=0)
    # quarters of three steps: the first is nine steps further back than the last
    assert gating.memory(influence) == pytest.approx(9 * math.log10(decay), abs=1e-5)
    assert model.training
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_what_does_not_reach_is_told_as_the_floor():
    assert gating.memory(torch.tensor([0.0, 0.0, 0.0, 1.0])) == -12


@pytest.mark.parametrize("cell", gating.CELLS)
def test_the_reach_agrees_with_finite_differences(cell):
    torch.manual_seed(0)
    spec = zoo.DataSpec((1, 4, 4), 3)
    model = zoo.create("rnn", spec, cell=cell, reads="pixels", hidden_size=5, bidirectional=False).double().eval()
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    label = model(x).argmax(1)
    expected = []
    for place in range(16):
        step = torch.zeros(16, dtype=torch.float64)
        step[place] = 1e-5
        low, high = (model(x + sign * step.view(1, 1, 4, 4))[0, label] for sign in (-1, 1))
        expected.append(float(((high - low) / 2e-5).detach().abs()))
    torch.testing.assert_close(
        gating.reach(model, x), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-9
    )


def test_images_shrink_to_means_of_their_pixels():
    images = torch.tensor([[0, 4, 10, 10], [8, 4, 10, 11], [0, 0, 255, 255], [0, 1, 255, 255]], dtype=torch.uint8)
    assert gating.shrink(images[None, None], 2)[0, 0].tolist() == [[4, 10], [0, 255]]
    assert torch.equal(gating.shrink(images[None, None], 4)[0, 0], images)
    with pytest.raises(ValueError, match="does not divide"):
        gating.shrink(images[None, None], 3)


def test_quick_cases_measure_both_ways_of_reading(tmp_path):
    quick = {case.parameters["reads"]: case.parameters for case in gating.cases("quick")}
    for reads, steps in (("rows", 28), ("pixels", 49)):
        case = quick[reads] | {"epochs": 1, "n": 320}
        measured = gating.measure(case, Lab(tmp_path))
        assert 0.05 < measured["accuracy"] <= 1
        assert math.isfinite(measured["memory"])
        assert len(measured["ago"]) == len(measured["reach"]) <= gating.TOLD
        assert measured["ago"][0] == 0
        assert measured["reach"][0] == 1
        assert measured["ago"][-1] < steps
        assert measured == gating.measure(case, Lab(tmp_path))


def test_all_cells_are_trained_alike():
    cases = gating.cases("textbook")
    assert sum(case.seconds for case in cases) <= 600
    trained = {}
    for case in cases:
        key = (case.parameters["reads"], case.parameters["side"], case.parameters["cell"])
        trained.setdefault(key, []).append((case.parameters["seed"], case.parameters["epochs"]))
    assert set(trained) == {(*reading, cell) for reading in (("rows", 28), ("pixels", 14)) for cell in gating.CELLS}
    assert len(set(map(tuple, trained.values()))) == 1


def test_only_the_lstm_begins_with_open_forget_gates(tmp_path, monkeypatch):
    class Asked(Exception):
        pass

    def fit(*words, train):
        raise Asked(words)

    lab = Lab(tmp_path)
    monkeypatch.setattr(lab, "fit", fit)
    for case in gating.cases("quick")[::5]:
        with pytest.raises(Asked) as asked:
            gating.measure(case.parameters, lab)
        words = asked.value.args[0]
        assert ("model.forget_bias=2.0" in words) == (case.parameters["cell"] == "lstm")
        assert f"model.cell={case.parameters['cell']}" in words


TESTED = 1000


def rows(accuracy, memory):
    """Test images in the order of their difficulty; those that are too difficult are wrong."""
    found = []
    for reads, side in (("rows", 28), ("pixels", 14)):
        for cell in gating.CELLS:
            for seed in range(3):
                right = round(accuracy[reads, cell] * TESTED) + seed * (cell == "gru")
                found.append({"data": "mnist", "reads": reads, "side": side, "cell": cell, "seed": seed,
                              "accuracy": right / TESTED, "tested": TESTED, "wrong": list(range(right, TESTED)),
                              "memory": memory[cell] + 0.01 * seed,
                              "ago": [0, 10, 20], "reach": [1.0, 0.1, 0.0]})  # fmt: skip
    return found


TEXTBOOK = {("rows", "vanilla"): 0.94, ("rows", "gru"): 0.96, ("rows", "lstm"): 0.96,
            ("pixels", "vanilla"): 0.4, ("pixels", "gru"): 0.8, ("pixels", "lstm"): 0.7}  # fmt: skip
MEMORY = {"vanilla": -5.0, "gru": -0.5, "lstm": -1.0}


def test_the_textbook_is_supported_by_rows_that_say_so():
    found = {finding.key: finding for finding in gating.findings(rows(TEXTBOOK, MEMORY))}
    assert len(found) == 8
    assert verdict(list(found.values())) == SUPPORTED
    assert found["pixels-lstm"].estimate == pytest.approx(30)
    # the images that only one of both can tell, 30 % of a thousand, and no others
    assert found["pixels-lstm"].error == pytest.approx(100 * (0.3 * 0.7 / TESTED) ** 0.5, rel=0.01)
    assert found["rows-lstm"].error == pytest.approx(100 * (0.02 * 0.98 / TESTED) ** 0.5, rel=0.01)
    assert found["longer-lstm"].error > found["pixels-lstm"].error
    assert found["longer-lstm"].estimate == pytest.approx(28)
    assert found["memory-gru"].estimate == pytest.approx(4.5)
    assert "196 pixels" in found["pixels-gru"].statement
    assert "28 rows" in found["rows-gru"].statement


def test_and_not_by_rows_that_do_not():
    found = {finding.key: finding.verdict for finding in gating.findings(rows(TEXTBOOK, MEMORY | {"lstm": -6.0}))}
    assert found["memory-lstm"] == NOT_SUPPORTED
    assert found["pixels-lstm"] == SUPPORTED
    worse = TEXTBOOK | {("pixels", "gru"): 0.3}
    found = {finding.key: finding.verdict for finding in gating.findings(rows(worse, MEMORY))}
    assert found["pixels-gru"] == found["longer-gru"] == NOT_SUPPORTED


def test_figures_show_every_cell_and_bear_an_influence_of_nothing():
    found = gating.figures(rows(TEXTBOOK, MEMORY))
    assert set(found) == {"accuracy", "reach-28-rows", "reach-196-pixels"}
    for figure in found.values():
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["vanilla", "GRU", "LSTM"]
    assert [label.get_text() for label in found["accuracy"].axes[0].get_xticklabels()] == ["28 rows", "196 pixels"]
    line = found["reach-196-pixels"].axes[0].lines[0]
    assert list(line.get_ydata()) == pytest.approx([0, -1, -12])
