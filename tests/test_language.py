"""Models of the next token: what they share is proved of each of them by its being registered; and n-grams."""

import collections
import itertools
import math

import pytest
import torch

import zoo
from zoo import registry
from zoo.base.grams import Grams, past_of
from zoo.base.language import Language, aligned, has_holes
from zoo.questions.anomaly_score import anomaly_scores
from zoo.spec import END, UNKNOWN

SMALL = {"ngram": {"order": 3}, "gpt": {"num_layers": 2, "width": 16, "heads": 2}, "rnnlm": {"hidden_size": 8}}
LANGUAGE = [name for name in zoo.list_models() if issubclass(registry.model_class(name), Language)]
T = 4  # of a text that ends


def spec_of(classes: int = 1, ends: bool = True, length: int = T, context: int = 0) -> zoo.DataSpec:
    vocabulary = ("a", "b", UNKNOWN, *([END] if ends else []))
    return zoo.DataSpec(
        (1, 1, length), classes, kind="tokens", values="tokens", vocabulary=vocabulary, settings={"context": context}
    )


def texts(n: int, spec: zoo.DataSpec, seed: int = 0) -> torch.Tensor:
    """Texts that end, or windows of running text."""
    generator, length = torch.Generator().manual_seed(seed), spec.shape[2]
    x = torch.randint(3, (n, length), generator=generator)
    if spec.token(END) >= 0:
        lengths, places = torch.randint(length + 1, (n, 1), generator=generator), torch.arange(length)
        x = torch.where(places < lengths, x, torch.where(places == lengths, spec.token(END), -1))
    return x[:, None, None]


def made(name: str, spec: zoo.DataSpec) -> Language:
    """A model with parameters that are anything but uniform."""
    torch.manual_seed(0)
    model = zoo.create(name, spec, **SMALL.get(name, {})).double().eval()
    x = texts(40, spec)
    model.initialize([(x, torch.arange(40) % spec.num_classes)], torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, dtype=parameter.dtype))
    return model


def every_text(spec: zoo.DataSpec) -> torch.Tensor:
    """All texts of a vocabulary: those that end within T symbols, and those of T that have not ended."""
    end = spec.token(END)
    whole = [
        [*begin, end, *[-1] * (T - length - 1)]
        for length in range(T)
        for begin in itertools.product(range(end), repeat=length)
    ]
    return torch.tensor([*whole, *map(list, itertools.product(range(end), repeat=T))])[:, None, None]


@pytest.mark.parametrize("name", LANGUAGE)
@pytest.mark.parametrize("classes", [1, 2])
def test_all_texts_together_have_probability_one(name, classes):
    spec = spec_of(classes)
    model, x = made(name, spec), every_text(spec)
    assert len(x) == 1 + 3 + 9 + 27 + 81
    total = zoo.log_prob(model, x).exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-10, rtol=0)
    if classes > 1:
        each = torch.stack([zoo.log_prob(model, x, torch.full((len(x),), k)).exp().sum() for k in range(classes)])
        torch.testing.assert_close(each, torch.ones_like(each), atol=1e-10, rtol=0)
        posterior = zoo.classify(model, x).exp()
        joint = torch.stack([zoo.log_prob(model, x, torch.full((len(x),), k)).exp() for k in range(classes)], 1)
        torch.testing.assert_close(posterior, joint / joint.sum(1, keepdim=True))  # Bayes' rule; the classes are even


@pytest.mark.parametrize("name", LANGUAGE)
def test_what_follows_a_context_has_probability_one(name):
    spec = spec_of(ends=False, length=5, context=3)
    model = made(name, spec)
    for known in ([0, 1, 1], [2, 0, 0]):
        x = torch.tensor([[*known, *behind] for behind in itertools.product(range(3), repeat=2)])[:, None, None]
        total = zoo.log_prob(model, x).exp().sum()
        torch.testing.assert_close(total, torch.ones_like(total), atol=1e-10, rtol=0)
    nothing = torch.tensor([[-1, -1, -1, *behind] for behind in itertools.product(range(3), repeat=2)])[:, None, None]
    total = zoo.log_prob(model, nothing).exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", LANGUAGE)
def test_no_token_sees_a_later_one(name):
    model, x = made(name, spec_of(ends=False, length=8)), texts(6, spec_of(ends=False, length=8))[:, 0, 0]
    groups = torch.zeros(6, dtype=torch.long)
    before = model.logits(x, groups)
    assert before.shape == (6, 8, 3)
    for place in range(8):
        changed = x.clone()
        changed[:, place:] = (changed[:, place:] + 1) % 3
        after = model.logits(changed, groups)
        torch.testing.assert_close(
            after[:, : place + 1], before[:, : place + 1]
        )  # what comes at a place is not told by it
        assert place == 7 or not torch.allclose(after[:, place + 1], before[:, place + 1])


@pytest.mark.parametrize("name", LANGUAGE)
def test_step_by_step_is_all_at_once(name):
    model, x = made(name, spec_of(2, ends=False, length=8)), texts(6, spec_of(ends=False, length=8))[:, 0, 0]
    groups = torch.arange(6) % 2
    wanted = model.logits(x, groups).log_softmax(2)
    found, state = model.advance(model.begin(groups), x[:, :0])
    torch.testing.assert_close(found.log_softmax(1), wanted[:, 0])
    found, state = model.advance(state, x[:, :3])
    torch.testing.assert_close(found.log_softmax(1), wanted[:, 3])
    for place in range(3, 7):
        found, state = model.advance(state, x[:, place : place + 1])
        torch.testing.assert_close(found.log_softmax(1), wanted[:, place + 1])


@pytest.mark.parametrize("name", LANGUAGE)
def test_padding_changes_nothing(name):
    spec = spec_of(2, length=6)
    model, x = made(name, spec), texts(20, spec_of(2))
    alone = torch.cat([zoo.log_prob(model, text[:, :, :, : int((text >= 0).sum())]) for text in x.split(1)])
    wider = torch.nn.functional.pad(x, (0, 5), value=-1)
    torch.testing.assert_close(zoo.log_prob(model, x), alone)
    torch.testing.assert_close(zoo.log_prob(model, wider), alone)
    torch.testing.assert_close(zoo.log_prob(model, torch.nn.functional.pad(x, (2, 0), value=-1)), alone)
    labels = torch.arange(20) % 2
    if hasattr(model, "losses"):
        losses = [model.losses(padded, labels)["loss"] for padded in (x, wider)]
        torch.testing.assert_close(*losses)
        tokens = (x >= 0).sum()
        torch.testing.assert_close(losses[0] * tokens, -zoo.log_prob(model, x, labels).sum())  # a mean per token
    with pytest.raises(zoo.ZooError, match="hidden tokens"):
        zoo.log_prob(model, torch.tensor([0, -1, 1]))


@pytest.mark.parametrize("name", LANGUAGE)
def test_what_is_drawn_is_as_probable_as_it_is_said_to_be(name):
    spec = spec_of(length=2)
    model, n = made(name, spec), 4000
    drawn = zoo.sample(model, n, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (n, 1, 1, 2)
    assert not (drawn == spec.token(UNKNOWN)).any()
    first = zoo.log_prob(model, torch.tensor([[0], [1], [3]])).exp()  # of texts that begin so
    share = torch.stack([(drawn[..., 0] == token).double().mean() for token in (0, 1, 3)])
    torch.testing.assert_close(share, first / first.sum(), atol=4 * 0.5 / n**0.5, rtol=0)  # the unknown is never drawn
    ended = drawn[:, 0, 0, 0] == 3
    assert (drawn[ended, 0, 0, 1] == -1).all()
    assert (drawn[~ended, 0, 0, 1] >= 0).all()


@pytest.mark.parametrize("name", LANGUAGE)
def test_generation_goes_on_with_a_prompt(name):
    spec = spec_of(2, ends=False, length=6)
    model, groups = made(name, spec), torch.tensor([0, 1])
    prompt = torch.tensor([[0, 1, 1], [1, 0, 0]])
    follow = model.logits(torch.cat([prompt, prompt[:, :1]], 1), groups)[:, 3, :2]
    (greedy,) = model.generate(groups, prompt, 1, temperature=0)
    assert torch.equal(greedy, follow.argmax(1))
    seed = lambda: torch.Generator().manual_seed(3)  # noqa: E731
    one = torch.stack([*model.generate(groups, prompt, 20, seed(), top_k=1)], 1)
    assert torch.equal(one, torch.stack([*model.generate(groups, prompt, 20, temperature=0)], 1))  # beyond the window
    cold = torch.stack([*model.generate(groups.repeat(500), prompt.repeat(500, 1), 1, seed(), temperature=0.5)], 1)
    share = (cold[::2] == 0).double().mean()
    wanted = (follow[0] / 0.5).softmax(0)[0]
    assert abs(share - wanted) < 4 * 0.5 / 500**0.5
    assert torch.equal(model.likely_groups(prompt[:, :0].repeat(50, 1), seed()).unique(), groups)  # nothing is said yet
    assert model.likely_groups(prompt[:0]).shape == (0,)
    with pytest.raises(zoo.ZooError, match="longer than the 6"):
        next(iter(model.generate(groups[:1], torch.zeros(1, 7, dtype=torch.long), 1)))


@pytest.mark.parametrize("name", LANGUAGE)
def test_impossible_temperatures_are_refused(name):
    model, groups = made(name, spec_of()), torch.zeros(1, dtype=torch.long)
    for options in ({"temperature": -1.0}, {"temperature": math.inf}, {"temperature": math.nan}, {"top_k": -1}):
        with pytest.raises(zoo.ZooError, match="must be at least 0"):
            next(model.generate(groups, groups[:, None][:, :0], 1, **options))


@pytest.mark.parametrize("name", LANGUAGE)
def test_every_score_of_strangeness_is_told(name):
    model, x = made(name, spec_of(2)), texts(5, spec_of(2))
    kinds = anomaly_scores(model)
    assert {"per_token", "log_prob", "max_softmax", "entropy"} <= set(kinds)
    for kind in kinds:
        assert zoo.anomaly_score(model, x, kind=kind).isfinite().all(), kind


@pytest.mark.parametrize("name", LANGUAGE)
def test_what_comes_next(name):
    spec = spec_of(2, length=6)
    model = made(name, spec)
    x = torch.tensor([[0, 1, -1], [1, 3, -1], [0, 0, 1]])[:, None, None].repeat(300, 1, 1, 1)
    model_forecast = model.forecast(x, 2, torch.Generator().manual_seed(0))
    assert model_forecast.shape == (900, 1, 1, 5)
    assert torch.equal(model_forecast[..., :2], x[..., :2])
    assert (model_forecast[1::3, 0, 0, 2:] == -1).all()  # it is over
    assert (model_forecast[0::3, 0, 0, 4] == -1).all()  # two more than two
    of_next = torch.tensor([[0, 1, token] for token in (0, 1, 3)])
    p = zoo.log_prob(model, of_next).exp()  # the class is one that the beginning makes likely
    share = torch.stack([(model_forecast[0::3, 0, 0, 2] == token).double().mean() for token in (0, 1, 3)])
    torch.testing.assert_close(share, p / p.sum(), atol=4 * 0.5 / 300**0.5, rtol=0)


def test_sequences_are_moved_to_their_first_place():
    x = torch.tensor([[-1, -1, 0, 1], [2, -1, -1, -1], [-1, -1, -1, -1]])[:, None, None]
    tokens, before = aligned(x)
    assert tokens.tolist() == [[0, 1, -1, -1], [2, -1, -1, -1], [-1] * 4]
    assert before.tolist() == [2, 0, 0]
    assert not has_holes(x.flatten(1) >= 0)
    assert has_holes(torch.tensor([[0, -1, 1]]) >= 0)
    assert has_holes(torch.tensor([[-1, 0, -1, 1]]) >= 0)


# n-grams


def slow_kneser_ney(rows: list[list[int]], order: int, size: int):
    """The definition, with dicts: rows of tokens, to p(token | the tokens before) as a function of tuples."""
    seen = [collections.defaultdict(collections.Counter) for _ in range(order)]
    for row in rows:
        padded = [None, *row]
        for place in range(1, len(padded)):
            for length in range(min(order, place + 1)):
                seen[length][tuple(padded[place - length : place])][padded[place]] += 1
    counts = [seen[-1]]
    for length in range(order - 2, -1, -1):
        varied = collections.defaultdict(collections.Counter)
        for context, tokens in seen[length].items():
            for token, count in tokens.items():
                before = {
                    longer for longer in seen[length + 1] if longer[1:] == context and token in seen[length + 1][longer]
                }
                varied[context][token] = count if context and context[0] is None else len(before)
        counts.insert(0, varied)

    def discounts(tables) -> list[float]:
        met = collections.Counter(count for tokens in tables.values() for count in tokens.values())
        if not all(met[times] for times in (1, 2, 3, 4)):
            return [0.5] * 3
        share = met[1] / (met[1] + 2 * met[2])
        return [min(max(j - (j + 1) * share * met[j + 1] / met[j], 0.01), j) for j in (1, 2, 3)]

    each = [discounts(table) for table in counts]

    def probability(token: int, context: tuple) -> float:
        p = 1 / size
        for length in range(order):
            if length > len(context):
                break
            tokens = counts[length].get(context[len(context) - length :])
            if tokens is None:
                break
            total, d = sum(tokens.values()), each[length]
            off = sum(d[min(count, 3) - 1] for count in tokens.values()) / total
            own = max(tokens[token] - d[min(tokens[token], 3) - 1], 0) / total if tokens[token] else 0
            p = own + off * p
        return p

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ngrams_are_those_of_chen_and_goodman(order):
    size, generator = 5, torch.Generator().manual_seed(order)
    rows = [
        torch.multinomial(torch.tensor([8.0, 4, 2, 1, 1]), int(length), True, generator=generator).tolist()
        for length in torch.randint(1, 9, (60,), generator=generator)
    ]
    width = max(map(len, rows))
    x = torch.tensor([row + [-1] * (width - len(row)) for row in rows])
    grams = Grams(size, order, 1).double()
    grams.count([(x.clamp_min(0), x >= 0, torch.zeros(60, dtype=torch.long))])
    wanted = slow_kneser_ney(rows, order, size)
    past = past_of(x.clamp_min(0), order, size)
    for row in range(20):
        for place, token in enumerate(rows[row]):
            context = (None, *rows[row][:place])
            p = grams.probability(torch.tensor([token]), past[row, place][None], torch.tensor([0]))
            assert float(p) == pytest.approx(wanted(token, context), rel=1e-6), (row, place)


def test_probabilities_of_ngrams_sum_to_one_after_everything():
    grams, generator = Grams(6, 4, 2).double(), torch.Generator().manual_seed(0)
    x = torch.randint(4, (50, 12), generator=generator)
    grams.count([(x, torch.ones_like(x, dtype=torch.bool), torch.arange(50) % 2)])
    past = torch.tensor([*itertools.product(range(7), repeat=3)])  # never seen ones, and beginnings of texts
    for group in (0, 1):
        p = grams.distribution(past, torch.full((len(past),), group))
        torch.testing.assert_close(p.sum(1), torch.ones(len(past), dtype=torch.float64), atol=1e-6, rtol=0)
        assert p.min() > 0
    assert not torch.equal(grams.distribution(past, past[:, 0] * 0), grams.distribution(past, past[:, 0] * 0 + 1))


def test_ngrams_come_back_from_a_file(tmp_path):
    model = made("ngram", spec_of(2)).float()
    zoo.save(model, tmp_path / "released")
    again = zoo.load(tmp_path / "released")
    x = texts(20, model.spec)
    assert torch.equal(zoo.log_prob(again, x), zoo.log_prob(model, x))
    state = model.state_dict()
    own, rest, keys = (state[f"grams.{name}"] for name in ("own", "rest", "grams"))
    for name, value in (
        ("own", own[:-1]), ("own", own * 0 + 5), ("own", own * torch.nan), ("rest", -rest),
        ("contexts", state["grams.contexts"].flip(0)), ("grams", keys - 10**6), ("grams", keys + 10**6),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="do not fit each other"):
            zoo.create("ngram", spec_of(2), order=3).load_state_dict(state | {f"grams.{name}": value})


def test_a_longer_gram_than_the_context_is_refused():
    with pytest.raises(zoo.ZooError, match=r"only 3 are known: data.context=4 or more"):
        zoo.create("ngram", spec_of(ends=False, length=8, context=3), order=5)
    with pytest.raises(zoo.ZooError, match="from 1 to 16"):
        zoo.create("ngram", spec_of(), order=17)


def test_each_token_of_running_text_counts_once():
    """Windows overlap; counts are those of the text."""
    text = torch.randint(3, (61,), generator=torch.Generator().manual_seed(0))
    spec, whole = spec_of(ends=False, length=12, context=6), spec_of(ends=False, length=61)
    padded = torch.nn.functional.pad(text, (6, 5), value=-1)
    windows = padded.unfold(0, 12, 6)[:, None, None]
    assert (windows[..., 6:] >= 0).sum() == 61
    models = [zoo.create("ngram", one, order=4) for one in (spec, whole)]
    for model, x in zip(models, (windows, text[None, None, None]), strict=True):
        model.initialize([(x, torch.zeros(len(x), dtype=torch.long))], None)
    for name, value in models[0].state_dict().items():
        assert torch.equal(value, models[1].state_dict()[name]), name
    torch.testing.assert_close(zoo.log_prob(models[0], windows).sum(), zoo.log_prob(models[1], text).sum())


def test_unigrams_with_classes_are_naive_bayes():
    """Without smoothing there is nothing else that they could be: frequencies of symbols of each class."""
    spec = spec_of(2)
    x, labels = texts(400, spec), torch.arange(400) % 2
    x = torch.where((labels[:, None, None, None] == 1) & (x == 0), 1, x)  # the second class has no a
    model = zoo.create("ngram", spec, order=1)
    model.initialize([(x, labels)], None)
    model.double()
    counts = torch.stack([x[labels == k][x[labels == k] >= 0].bincount(minlength=4) for k in range(2)]).double()
    p = model.grams.distribution(torch.zeros(2, 0, dtype=torch.long), torch.arange(2))
    torch.testing.assert_close(p, counts / counts.sum(1, keepdim=True), atol=2e-3, rtol=0)
    assert zoo.classify(model, torch.tensor([0, 1, 3])).argmax(1) == 0
    assert math.isclose(float(zoo.log_prob(model, torch.tensor([3]))), float((p[:, 3].mean()).log()), rel_tol=1e-5)
