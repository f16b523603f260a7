"""What is shown of texts, and of pictures patch by patch. Of others see test_two_classes, test_frames, test_train."""

import io
import re
from html import unescape
from unittest import mock

import pytest
import reviews
import torch
from conftest import run_train
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugin_util import markdown_to_safe_html

import zoo
from zoo import capability
from zoo.data import characters
from zoo.data.kinds import tokens
from zoo.data.splits import Split, load_splits
from zoo.inspect import kinds, markdown
from zoo.inspect.figures import keep, rendered
from zoo.inspect.kinds import image
from zoo.inspect.kinds.tokens import (
    AROUND,
    CHARACTERS,
    MARKED,
    WHOLE,
    mistakes,
    of_words,
    samples,
    telling,
    words_figure,
)
from zoo.questions.explain import explain
from zoo.spec import END, UNKNOWN

pytestmark = pytest.mark.usefixtures("one_thread")


def test_kinds_are_found_and_others_are_shown_as_pictures():
    found = {name: kinds.find(name).__name__.rpartition(".")[2] for name in ("image", "table", "tokens", "spins")}
    assert found == {"image": "image", "table": "table", "tokens": "tokens", "spins": "image"}


def test_nothing_in_a_cell_is_markdown():
    assert markdown.escaped("a|b *c* `d` <e> [f] _g_ \\\n&lt;h&x") == (
        r"a\|b \*c\* \`d\` \<e\> \[f\] \_g\_ \\ &amp;lt;h&x"
    )
    assert markdown.table(("a", "b"), [("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"


# Words


def test_a_word_tells_what_it_adds_against_the_mean_of_the_others():
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).double()
    for label in range(4):
        others = logits[[other for other in range(4) if other != label]]
        torch.testing.assert_close(telling(logits)[label], logits[label] - others.mean(0))
    torch.testing.assert_close(telling(logits + torch.randn(6)), telling(logits))  # which changes no probability
    torch.testing.assert_close(telling(logits[:2]), torch.stack([logits[0] - logits[1], logits[1] - logits[0]]))


def bars(figure):
    """Words and the lengths of their bars, panel by panel."""
    panels = [axes for axes in figure.axes if axes.axison]
    return {
        axes.get_title(): dict(
            zip(
                (label.get_text() for label in axes.get_yticklabels()),
                (bar.get_width() for bar in axes.patches),
                strict=True,
            )
        )
        for axes in panels
    }


def test_the_most_telling_words_are_on_top():
    model = reviews.bayes()
    drawn = bars(kinds.find("tokens").learnt(model, reviews.splits().test)["words"])
    assert list(drawn) == ["negative", "positive"]
    # the words that the grammar has for one class alone
    assert {"sent", "left", "regretted"} <= set(drawn["negative"])
    assert {"loved", "finished", "praised"} <= set(drawn["positive"])
    log_p, number = model.coefficients().detach(), {term: place for place, term in enumerate(model.spec.vocabulary)}
    for label, name in enumerate(model.spec.class_names):
        values = list(drawn[name].values())
        assert values == sorted(values, reverse=True)
        assert len(values) <= 20
        for word, value in drawn[name].items():
            expected = log_p[label, number[word]] - log_p[1 - label, number[word]]
            assert value == pytest.approx(float(expected), abs=1e-5)
            assert value > 0


def test_ten_classes_at_most_and_long_words_are_cut():
    spec = zoo.DataSpec(
        (1, 1, 2), 12, tuple(f"class {k}" for k in range(12)), (0.5, 0.25), (1, 1), kind="tokens", values="counts",
        vocabulary=("a" * 30, "$x$"),
    )  # fmt: skip
    values = torch.zeros(12, 2)
    values[:, 0], values[0, 1] = 2.0, 1.0
    drawn = bars(words_figure(values, spec))
    assert list(drawn) == [f"class {k}" for k in range(10)]
    assert drawn["class 0"] == {"a" * 23 + "…": 2, "$x$": 1}
    assert drawn["class 9"] == {"a" * 23 + "…": 2}  # what says nothing has no bar


@pytest.mark.filterwarnings("error")
def test_characters_that_the_font_lacks_have_names():
    """Matplotlib would draw boxes, and warn of each."""
    words = ("\U0001f389", "中", "café", "!\U0001f389")
    spec = zoo.DataSpec(
        (1, 1, 4), 2, ("a", "b"), (0.5,) * 4, (1,) * 4, kind="tokens", values="counts", vocabulary=words
    )
    figure = words_figure(torch.tensor([[0.0] * 4, [4.0, 3, 2, 1]]), spec)
    assert list(bars(figure)["b"]) == ["[party popper]", "[U+4E2D]", "café", "![party popper]"]
    figure.savefig(io.BytesIO(), format="png")


# Mistakes


@pytest.mark.parametrize("ngrams", [1, 2, 3])
def test_points_of_words_are_those_of_the_terms_that_they_are_in(ngrams):
    spec = reviews.splits(ngrams=ngrams).spec
    words = 7
    width = sum(words - longer for longer in range(ngrams))
    points = torch.randn(2, width, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.zeros(2, words).double()
    place = 0
    for size in range(1, ngrams + 1):
        for first in range(words - size + 1):
            for word in range(first, first + size):
                expected[:, word] += points[:, place] / size
            place += 1
    torch.testing.assert_close(of_words(points, spec), expected)


@pytest.mark.parametrize("ngrams", [1, 2])
def test_mistakes_mark_the_words_that_misled(ngrams):
    model, test = reviews.linear(ngrams), reviews.splits(ngrams=ngrams).test
    log_proba = zoo.classify(model, test.x())
    wrong = (log_proba.argmax(1) != test.labels).nonzero()[:, 0]
    head, _, *lines = mistakes(model, test, log_proba, 5).splitlines()
    assert head == "| true | taken for | probability | text |"
    assert len(lines) == min(5, len(wrong))
    worst = wrong[log_proba[wrong].amax(1).argsort(descending=True, stable=True)]
    for line, place in zip(lines, worst.tolist(), strict=False):
        true, guess, probability, text = (cell.strip() for cell in line.strip("|").split(" | "))
        label, taken = int(test.labels[place]), int(log_proba[place].argmax())
        assert (true, guess) == (model.spec.class_names[label], model.spec.class_names[taken])
        assert probability == f"{float(log_proba[place].max().exp()):.1%}"
        (seen,) = tokens.text_of(test.images[place : place + 1], model.spec)
        assert text.replace("**", "") == seen
        contributions = explain(model, test.take(slice(place, place + 1)).x()).contributions[0]
        points = of_words((contributions[taken] - contributions[label])[None], model.spec)[0][: len(seen.split())]
        totals = dict.fromkeys(seen.split(), 0.0)
        for word, worth in zip(seen.split(), points.tolist(), strict=True):
            totals[word] += worth
        best = {word for word in sorted(totals, key=lambda word: -totals[word])[:MARKED] if totals[word] > 0}
        assert {word.strip("*") for word in text.split() if word.startswith("**")} == best


def test_mistakes_of_a_model_that_cannot_explain_itself_have_no_marks():
    model, test = zoo.create("mlp", reviews.splits().spec).eval(), reviews.splits().test
    text = mistakes(model, test, torch.tensor([[0.9, 0.1]]).log().expand(len(test), -1), 3)
    assert "**" not in text
    assert text.count("| positive | negative | 90.0% |") == 3


def test_a_long_text_is_shown_around_the_words_that_misled():
    vocabulary = ("so", "awful", "*")
    spec = zoo.DataSpec(
        (1, 1, 3), 2, ("bad", "good"), (0.5,) * 3, kind="tokens", values="counts", vocabulary=vocabulary
    )
    model = zoo.create("logistic_regression", spec).eval()
    model.head.weight.data.copy_(torch.tensor([[0, 3.0, 0], [0, -3.0, 0]]))
    text = torch.zeros(1, 1, 1, 2 * WHOLE, dtype=torch.int32)
    text[..., 40], text[..., 41], text[..., 80], text[..., -1] = 1, 3, 1, 2
    line = mistakes(model, Split(text, torch.ones(1).long(), "tokens"), torch.tensor([[0.8, 0.2]]).log(), 1)
    shown = ["so"] * AROUND + ["**awful**", "…"] + ["so"] * (AROUND - 1)
    assert line.splitlines()[2] == rf"| good | bad | 80.0% | \[…\] {' '.join(shown)} \[…\] |"


# Samples


def test_samples_are_texts_of_each_class():
    model = reviews.bayes()
    text = samples(model)
    tables = [[line.strip("| ") for line in part.splitlines()] for part in text.split("\n\n")]
    assert [table[0] for table in tables] == ["negative", "positive"]
    assert [len(table) for table in tables] == [2 + 8] * 2
    words = {word for table in tables for row in table[2:] for word in re.sub(r"\\(.)", r"\1", row).split()}
    assert len(words) > 20
    assert words <= set(model.spec.vocabulary)
    assert samples(model) == text


# A run


@pytest.mark.parametrize("words", [("naive_bayes", "data.min_count=3"), ("nbsvm", "data.ngrams=2")])
def test_a_run_shows_words_and_mistakes(words, tmp_path):
    model, *more = words
    run = run_train(tmp_path, f"model={model}", "data=grammar", "trainer=cpu", "trainer.max_epochs=1", *more)
    with Image.open(run / "figures" / "words.png") as picture:
        assert picture.convert("L").getextrema()[0] < 50
    shown = EventAccumulator(str(run), size_guidance={"images": 0, "tensors": 0}).Reload()
    assert {"model/words", "test/confusion", "test/roc"} <= set(shown.Tags()["images"])
    tags = [tag for tag in shown.Tags()["tensors"] if tag.endswith("/text_summary")]
    told = {tag: shown.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags}
    assert (run / "mistakes.md").read_text() == told["test/worst_mistakes/text_summary"] + "\n"
    assert ("model/samples/text_summary" in told) == (model == "naive_bayes")
    if model == "naive_bayes":
        assert (run / "figures" / "samples.md").read_text() == told["model/samples/text_summary"] + "\n"


# Sequences of characters


def speaking(vocabulary: str, ends: bool = True, classes: tuple[str, ...] = ("text",)) -> zoo.Model:
    """A model that has counted nothing: each character is as likely as any other, and the end of a text."""
    settings = {"reads": "characters"} | ({} if ends else {"context": 4})
    symbols = (*vocabulary, UNKNOWN, *([END] if ends else []))
    spec = zoo.DataSpec(
        (1, 1, 400), len(classes), classes, kind="tokens", values="tokens", vocabulary=symbols, settings=settings
    )
    model = zoo.create("ngram", spec, order=2).eval()
    x = torch.arange(len(vocabulary))[None, None, None].expand(len(classes), -1, -1, -1)
    model.initialize([(x, torch.arange(len(classes)))], torch.Generator())
    return model


def test_samples_of_running_text_keep_its_lines():
    model = speaking("a`\n* ", ends=False)
    text = samples(model)
    fence, *lines, last = text.split("\n")
    assert fence == last == "`" * len(fence)
    assert all(fence not in line for line in lines)  # what the model says does not end the block
    drawn = torch.stack(
        [*model.generate(torch.tensor([0]), torch.zeros(1, 0, dtype=torch.long), 300, capability.seeded(model, 0))], 1
    )
    assert "\n".join(lines) == characters.text_of(drawn, model.spec)[0]
    html = markdown_to_safe_html(text)
    assert html.count("<pre>") == 1
    shown = unescape(html.partition("<code>")[2].partition("</code>")[0]).split("\n")
    assert [line.rstrip() for line in shown[:-1]] == [line.rstrip() for line in lines]
    assert samples(model) == text
    assert samples(model, seed=1) != text


def test_samples_of_texts_that_end_are_a_table_a_class():
    text = samples(speaking("ab\n|", classes=("one", "two")))
    tables = [part.splitlines() for part in text.split("\n\n")]
    assert [table[0] for table in tables] == ["| one |", "| two |"]
    assert [len(table) for table in tables] == [2 + 8] * 2
    assert "↵" in text
    html = markdown_to_safe_html(text)
    assert html.count("<td>") == 16


def test_mistakes_show_characters_as_they_are():
    model = speaking("ab\n|", classes=("one", "two"))
    stored = torch.full((2, 1, 1, 400), -1, dtype=torch.int32)
    stored[0, 0, 0, :5], stored[1] = torch.tensor([0, 2, 3, 1, 5]), 0
    split = Split(stored, torch.tensor([0, 0]), "tokens")
    text = mistakes(model, split, torch.tensor([[0.1, 0.9], [0.2, 0.8]]).log(), 5)
    short, long = text.splitlines()[2:]
    assert short == r"| one | two | 90.0% | a ↵ \|b |"
    assert long == rf"| one | two | 80.0% | {'a' * CHARACTERS} \[…\] |"


def test_a_run_shows_samples_of_each_epoch_from_the_same_noise(tmp_path):
    """And is the same without them, bit for bit."""
    words = ("model=rnnlm", "data=grammar", "data.reads=characters", "model.hidden_size=16", "model.embedding=8")
    more = ("trainer=cpu", "trainer.max_epochs=2", "trainer.limit_train_batches=2", "data.longest=40")
    run = run_train(tmp_path / "shown", *words, *more)
    shown = EventAccumulator(str(run), size_guidance={"tensors": 0}).Reload()
    told = shown.Tensors("model/samples/text_summary")
    texts = [event.tensor_proto.string_val[0].decode() for event in told]
    assert [event.step for event in told] == [2, 4]
    assert texts[0] != texts[1]
    assert texts[1] == samples(zoo.load(run / "last.ckpt"))
    assert (run / "figures" / "samples.md").read_text() == samples(zoo.load(run)) + "\n"
    with mock.patch("zoo.run.train.each_epoch", return_value=False):
        other = run_train(tmp_path / "not shown", *words, *more, "logger=none")
    weights, same = (zoo.load(path / "last.ckpt").state_dict() for path in (run, other))
    assert all(torch.equal(value, same[name]) for name, value in weights.items())


def test_a_run_of_pictures_patch_by_patch_shows_samples_each_epoch_and_what_surprises(tmp_path):
    words = ("model=autoregressive", "data=digits", "model.channels=4", "model.blocks=1", "trainer=cpu")
    run = run_train(tmp_path, *words, "trainer.max_epochs=2", "trainer.limit_train_batches=2")
    shown = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    assert [event.step for event in shown.Images("model/samples")] == [2, 4]
    assert len({event.encoded_image_string for event in shown.Images("model/samples")}) == 2
    assert len(shown.Images("model/surprise")) == 1
    model, split = zoo.load(run), load_splits("digits").test
    png = (run / "figures" / "samples.png").read_bytes()
    keep(tmp_path, "again", rendered(image.samples(model)))
    assert (tmp_path / "again.png").read_bytes() == png  # of the weights that are kept
    keep(tmp_path, "again", rendered(image.surprise_figure(model, split)))
    assert (tmp_path / "again.png").read_bytes() == (run / "figures" / "surprise.png").read_bytes()


def test_above_each_map_of_surprise_is_its_sum():
    """Of pictures of different classes, of the least likely of the first ones, and of changed ones."""
    model, split = zoo.create("autoregressive", channels=4, blocks=1), load_splits("digits").test
    texts = [text.get_text() for text in image.surprise_figure(model, split).axes[0].texts]
    surprise = -zoo.log_prob(model, split.take(slice(image.LOOKED_AT)).x())
    worst = [f"{value:.0f}" for value in surprise.sort(descending=True).values[:8].tolist()]
    assert texts[8:16] == worst
    first = [int((split.labels == label).nonzero()[0, 0]) for label in range(8)]
    expected = -zoo.log_prob(model, split.take(torch.tensor(first)).x())
    assert texts[:8] == [f"{value:.0f}" for value in expected.tolist()]
    assert len(texts) == 24


@pytest.mark.parametrize("count", [1, 3, 8, 9])
def test_a_few_pictures_are_enough_to_show_what_surprises(count):
    model, split = zoo.create("autoregressive", channels=4, blocks=1), load_splits("digits").test
    figure = image.surprise_figure(model, split.take(slice(count)))
    assert len(figure.axes[0].texts) == 3 * min(count, 8)
