"""What takes the place of hidden values, against brute force."""

import pytest
import torch

import zoo
from zoo.base.fill import FILLS, filling, local_mean
from zoo.tasks.impute import observed_mask

pytestmark = pytest.mark.usefixtures("one_thread")


def by_hand(x, observed, otherwise):
    """Pixel by pixel, window by window, in float64."""
    filled = x.clone()
    height, width = x.shape[2:]
    for b, c, i, j in (~observed).nonzero().tolist():
        filled[b, c, i, j] = otherwise[c]
        for reach in range(1, max(height, width)):
            window = slice(max(i - reach, 0), i + reach + 1), slice(max(j - reach, 0), j + reach + 1)
            around = x[b, c][window][observed[b, c][window]]
            if len(around):
                mean = around.double().mean()
                filled[b, c, i, j] = mean if x.is_floating_point() else mean.round()
                break
    return filled


@pytest.mark.parametrize("size", [(7, 7), (3, 9), (1, 6), (1, 1)])
@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
def test_the_mean_of_what_is_seen_around(size, share):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(20, 2, *size, generator=generator)
    observed = torch.rand(x.shape, generator=generator) >= share  # channels by themselves
    expected = by_hand(x, observed, [0.25, 0.75])
    otherwise = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1)
    torch.testing.assert_close(local_mean(x, observed, otherwise), expected)
    hidden = x.masked_fill(~observed, torch.nan)  # never read
    torch.testing.assert_close(local_mean(hidden, observed, otherwise), expected)
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(local_mean(last, observed, otherwise), expected)


@pytest.mark.parametrize("mask", ["half", "block", "mcar"])
def test_whole_numbers_are_rounded(mask):
    generator = torch.Generator().manual_seed(1)
    levels = torch.randint(256, (15, 3, 9, 8), dtype=torch.uint8, generator=generator)
    observed = observed_mask(mask, 15, (9, 8), 0.6, generator)
    filled = local_mean(levels, observed, torch.zeros(1, dtype=torch.uint8))
    assert filled.dtype == torch.uint8
    assert torch.equal(filled, by_hand(levels, observed.expand_as(levels), [0, 0, 0]))


def test_windows_grow_until_something_is_seen():
    """One seen pixel fills all; of two, each pixel takes the nearer one, and both where they are equally near."""
    x = torch.tensor([0.2, 9, 9, 9, 0.6]).view(1, 1, 1, 5)
    nothing = torch.zeros(1)
    seen = torch.tensor([True, False, False, False, False])
    assert local_mean(x, seen, nothing).flatten().tolist() == pytest.approx([0.2] * 5)
    seen[4] = True
    assert local_mean(x, seen, nothing).flatten().tolist() == pytest.approx([0.2, 0.2, 0.4, 0.6, 0.6])


def test_a_model_fills_pictures_in_from_around_and_tables_with_their_means():
    x = torch.tensor([0.2, 9, 9, 9, 0.6]).view(1, 1, 1, 5)
    seen = torch.tensor([True, False, False, False, True])
    picture = zoo.create("logistic_regression", zoo.DataSpec((1, 1, 5), 2, mean=(0.1,)))
    assert picture.fill(x, seen).flatten().tolist() == pytest.approx([0.2, 0.2, 0.4, 0.6, 0.6])
    assert torch.equal(picture.fill(x, seen), picture.fill(x, seen, "local"))
    assert picture.fill(x, seen, "mean").flatten().tolist() == pytest.approx([0.2, 0.1, 0.1, 0.1, 0.6])
    unseen = torch.zeros(5, dtype=torch.bool)
    assert picture.fill(x, unseen).flatten().tolist() == pytest.approx([0.1] * 5)
    columns = (0.1, 0.2, 0.3, 0.4, 0.5)
    table = zoo.create("logistic_regression", zoo.DataSpec((1, 1, 5), 2, mean=columns, kind="table", values="real"))
    assert table.fill(x, seen).flatten().tolist() == pytest.approx([0.2, 0.2, 0.3, 0.4, 0.6])
    assert torch.equal(table.fill(x, seen), table.fill(x, seen, "mean"))


def test_unknown_and_impossible_words():
    picture, table = zoo.DataSpec(), zoo.DataSpec((1, 1, 5), 2, kind="table", values="real")
    assert [filling(word, picture) for word in (None, *FILLS)] == ["local", "local", "mean"]
    assert [filling(word, table) for word in (None, "mean")] == ["mean", "mean"]
    with pytest.raises(zoo.ZooError, match="unknown fill 'locale': did you mean 'local'"):
        filling("locale", picture)
    with pytest.raises(zoo.ZooError, match=r"fill=local .* for the kind image"):
        filling("local", table)
