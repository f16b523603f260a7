"""Recurrent networks of texts: a classifier that reads them to their own end, and a model of the next token."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import zoo
from zoo.base.recurrent import CELLS, Reader
from zoo.data.kinds import tokens
from zoo.models.rnn import listed
from zoo.spec import END, UNKNOWN

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = ("a", "b", "c", UNKNOWN, END)
SIZES = {"hidden_size": 6, "embedding": 5}


def spec_of(classes: int = 3, length: int = 9) -> zoo.DataSpec:
    return zoo.DataSpec((1, 1, length), classes, kind="tokens", values="tokens", vocabulary=VOCABULARY)


def made(name: str, **options) -> zoo.Model:
    torch.manual_seed(0)
    model = zoo.create(name, spec_of(), **{**SIZES, **options}).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def texts(n: int = 12, length: int = 9) -> torch.Tensor:
    """Of 0 to ``length`` - 1 characters, and their end."""
    generator, places = torch.Generator().manual_seed(1), torch.arange(length)
    lengths = torch.arange(n)[:, None] % length
    x = torch.randint(4, (n, length), generator=generator)
    return torch.where(places < lengths, x, torch.where(places == lengths, 4, -1))[:, None, None]


def filled(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(parameter.numel()))
    return model.double()


# Texts of different lengths


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (1, True), (3, False), (3, True)])
def test_a_reader_is_torchs_packed_sequences(cell, layers, bidirectional):
    reader = filled(Reader(cell, 4, 5, layers, 0.0, 0.0, bidirectional))
    torchs = CELLS[cell](4, 5, layers, batch_first=True, bidirectional=bidirectional).double()
    weights = {
        f"{name}{'_reverse' if way else ''}".replace("_l0", f"_l{number}"): parameter
        for number, layer in enumerate(reader.layers)
        for way, part in enumerate(layer)
        for name, parameter in part.named_parameters()
    }
    torchs.load_state_dict(weights)
    x = torch.randn(6, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([7, 1, 3, 6, 2, 3])
    state = torchs(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[1]
    last = (state[0] if cell == "lstm" else state)[-2 if bidirectional else -1 :]
    torch.testing.assert_close(reader(x, lengths), torch.cat([*last], 1))
    assert not reader(x, torch.zeros_like(lengths)).any()


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "cell": "gru"}, {"bidirectional": False}], ids=str)
def test_what_stands_around_a_text_changes_nothing(options):
    model, x = made("rnn", **options), texts()
    answers = zoo.classify(model, x)
    torch.testing.assert_close(answers.exp().sum(1), torch.ones(12, dtype=torch.float64))
    for padding in ((0, 5), (4, 0), (3, 3)):
        torch.testing.assert_close(zoo.classify(model, nn.functional.pad(x, padding, value=-1)), answers)
    alone = [zoo.classify(model, text[..., : int((text >= 0).sum())]) for text in x.split(1)]
    torch.testing.assert_close(torch.cat(alone), answers)
    torch.testing.assert_close(zoo.classify(model, x, batch_size=1), answers)
    assert zoo.classify(model, x[:0]).shape == (0, 3)
    assert len(answers[:9].unique(dim=0)) == 9  # and each text says something else


def test_both_ends_of_a_text_have_a_say():
    x = torch.tensor([0, 1, 2, 0, 1])[None, None, None]
    first, last = (x.clone() for _ in range(2))
    first[..., 0], last[..., -1] = 2, 2
    model = made("rnn")
    assert not torch.allclose(zoo.classify(model, first), zoo.classify(model, x))
    assert not torch.allclose(zoo.classify(model, last), zoo.classify(model, x))
    reversed_ = made("rnn", bidirectional=False)
    assert not torch.allclose(zoo.classify(reversed_, x.flip(3)), zoo.classify(reversed_, x))


def test_hidden_symbols_are_refused_between_others():
    """They make no shorter text."""
    model, x = made("rnn"), torch.tensor([0, 1, 2, 0])[None, None, None]
    seen = torch.tensor([True, False, True, True])
    with pytest.raises(zoo.ZooError, match="rnn cannot classify with missing entries"):
        zoo.classify(model, x, seen)
    with pytest.raises(zoo.ZooError, match="rnn cannot integrate hidden tokens out"):
        zoo.classify(model, torch.where(seen, x, -1))
    with pytest.raises(zoo.ZooError, match="symbols of a text have no mean"):
        zoo.classify(model, x, fill="mean")
    holes = torch.tensor([[-1, 2, -1, 0, -1], [-1, -1, -1, -1, -1], [1, 1, -1, -1, 3]])[:, None, None]
    found, lengths = listed(holes)  # training data has none; the model would pass them over
    assert lengths.tolist() == [2, 0, 3]
    assert [row[:length] for row, length in zip(found.tolist(), lengths, strict=True)] == [[2, 0], [], [1, 1, 3]]


@pytest.mark.parametrize(
    "change",
    [{"cell": "gru"}, {"embedding": 3}, {"hidden_size": 4}, {"num_layers": 2}, {"bidirectional": False},
     {"dropout": 0.9}, {"forget_bias": 3.0}],
    ids=str,
)  # fmt: skip
def test_each_option_of_a_reader_has_an_effect(change):
    losses = []
    for options in ({}, change):
        torch.manual_seed(0)
        model = zoo.create("rnn", spec_of(), **{**SIZES, **options})
        losses.append(model.loss(model(texts()), torch.arange(12) % 3).item())
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    ("name", "spec", "options", "said"),
    [
        ("rnn", spec_of(), {"reads": "columns"}, "reads=columns is of pictures: a text is read symbol by symbol"),
        ("rnn", zoo.DataSpec(), {"embedding": 3}, "embedding=3 is of texts: the steps of a picture are numbers"),
        ("rnn", spec_of(), {"embedding": 0}, "embedding must be at least 1, not 0"),
        ("rnn", spec_of(), {"num_layers": 0}, "at least 1"),
        ("rnnlm", spec_of(), {"embedding": 0}, "embedding must be at least 1, not 0"),
        ("rnnlm", spec_of(), {"cell": "gruu"}, "cell must be one of vanilla, gru, lstm, not 'gruu'"),
        ("rnnlm", spec_of(), {"dropout": 1.0}, "dropout in"),
    ],
)
def test_refused(name, spec, options, said):
    with pytest.raises(zoo.ZooError, match=said):
        zoo.create(name, spec, **options)


def taught(model: zoo.Model, loss, steps: int = 60) -> zoo.Model:
    """Trained on made-up texts, of which each class of two prefers half of the words."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def test_a_classifier_of_texts_learns(tmp_path):
    stored, spec = tokens.trial_of_sequences(200)
    x, labels = stored.long(), torch.arange(200) % 2
    torch.manual_seed(0)
    model = zoo.create("rnn", spec, hidden_size=16, embedding=8)
    taught(model, lambda model: model.loss(model(x[:150]), labels[:150]))
    assert (zoo.classify(model, x[150:]).argmax(1) == labels[150:]).double().mean() > 0.8
    released = zoo.load(zoo.save(model, tmp_path / "released"))
    assert torch.equal(zoo.classify(released, x), zoo.classify(model, x))
    assert zoo.encode(model, x[:2]).shape == (2, 32)


# The next token. What all models of it have to do is in test_language


@pytest.mark.parametrize("cell", CELLS)
def test_a_language_model_is_its_equations(cell):
    """Torch's cell by hand, from the class on."""
    model = made("rnnlm", cell=cell, dropout=0.5)
    step = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "vanilla": nn.RNNCell}[cell](5, 6).double()
    step.load_state_dict({name.removesuffix("_l0"): value for name, value in model.cell.state_dict().items()})
    x, groups = torch.tensor([[0, 1, 3, 2], [2, 2, 0, 1]]), torch.tensor([2, 0])
    state, before, expected = None, len(VOCABULARY) + groups, []
    for token in x.T:
        state = step(model.embedding.weight[before], state)
        expected.append(model.head.weight @ (state[0] if cell == "lstm" else state).T + model.head.bias[:, None])
        before = token
    torch.testing.assert_close(model.logits(x, groups), torch.stack(expected).permute(2, 0, 1))


@pytest.mark.parametrize("options", [{}, {"cell": "gru", "num_layers": 3}, {"cell": "vanilla"}], ids=str)
def test_a_state_is_all_that_is_kept_however_long_the_text(options):
    """Three times the window, in pieces, beside all at once."""
    model, groups = made("rnnlm", **options), torch.tensor([0, 2])
    x = torch.randint(4, (2, 27), generator=torch.Generator().manual_seed(0))
    expected, state, place = model.logits(x, groups), model.begin(groups), 0
    for step in (0, 5, 1, 1, 0, 12, 7):
        logits, state = model.advance(state, x[:, place : place + step])
        place += step
        torch.testing.assert_close(logits, expected[:, place], atol=1e-10, rtol=0)
    again, _ = model.advance(state, x[:, :1])
    model.advance(state, x[:, 1:3])
    assert torch.equal(model.advance(state, x[:, :1])[0], again)  # a state can be gone on with twice
    assert model.logits(x[:, :0], groups).shape == (2, 0, 5)
    assert model.logits(x[:0], groups[:0]).shape == (0, 27, 5)


def test_forget_gates_of_a_language_model_begin_open():
    torch.manual_seed(0)
    bias = zoo.create("rnnlm", spec_of(), hidden_size=100).cell.bias_ih_l0.detach()
    assert bias[100:200].mean() == pytest.approx(1, abs=0.05)
    assert bias[:100].mean() == pytest.approx(0, abs=0.05)
    zoo.create("rnnlm", spec_of(), cell="gru")  # which has none


def test_a_language_model_learns_what_follows():
    """Much better than how frequent each character is, and each class speaks for itself."""
    stored, spec = tokens.trial_of_sequences(200)
    x, labels = stored.long(), torch.arange(200) % 2
    unigrams = zoo.create("ngram", spec, order=1)
    unigrams.initialize([(x[:150], labels[:150])], torch.Generator())
    torch.manual_seed(0)
    model = zoo.create("rnnlm", spec, hidden_size=24, embedding=8)
    model.initialize([(x[:150], labels[:150])], torch.Generator())
    taught(model, lambda model: model.losses(x[:150], labels[:150])["loss"], 80)
    network, frequencies = (zoo.log_prob(each, x[150:]).mean() for each in (model, unigrams))
    assert network > 0.7 * frequencies
    assert (zoo.classify(model, x[150:]).argmax(1) == labels[150:]).double().mean() > 0.8
