"""Pictures as sequences of patches of binary pixels."""

import itertools

import pytest
import torch

import zoo
from zoo.base.likelihoods import binarise
from zoo.base.patches import BinaryPatches

SMALL = {"num_layers": 1, "width": 8, "heads": 2}


def wild(model: zoo.Model) -> zoo.Model:
    """A model of any weights, in float64."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(0))
    return model.double().eval()


@pytest.mark.parametrize(("shape", "patch"), [((1, 8, 6), (4, 2)), ((3, 4, 6), (2, 2)), ((1, 3, 5), (1, 5))])
def test_patches_are_all_of_a_picture(shape, patch):
    patches = BinaryPatches(shape, patch)
    x = (torch.rand(20, *shape, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    tokens = patches.of(x)
    assert tokens.shape == (20, patches.count)
    assert patches.size == 2 ** (shape[0] * patch[0] * patch[1])
    assert 0 <= tokens.min() <= tokens.max() < patches.size
    assert torch.equal(patches.picture(tokens), x)


def test_patches_are_read_row_after_row():
    x = torch.zeros(4, 1, 4, 4)
    for number, (row, column) in enumerate([(0, 0), (1, 3), (3, 1), (2, 2)]):
        x[number, 0, row, column] = 1
    assert [tokens.nonzero().item() for tokens in BinaryPatches((1, 4, 4), (2, 2)).of(x)] == [0, 1, 2, 3]


@pytest.mark.parametrize("patch", [(3, 2), (4, 4), (0, 1), (4,), (7, 2)])
def test_patches_that_do_not_fit(patch):
    with pytest.raises(zoo.ZooError, match="patch="):
        zoo.create("gpt", zoo.DataSpec((1, 28, 28)), patch=list(patch))


@pytest.mark.parametrize("conditional", [True, False])
def test_all_pictures_together_have_probability_one(conditional):
    spec = zoo.DataSpec((1, 2, 4), 3, values="binary")
    model = wild(zoo.create("gpt", spec, patch=[2, 1], conditional=conditional, **SMALL))
    assert model.density == zoo.Likelihood("exact", "binary")
    every = torch.tensor([*itertools.product((0.0, 1.0), repeat=8)]).view(-1, 1, 2, 4)
    total = zoo.log_prob(model, every).exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-7, rtol=0)  # a prior of single precision
    assert hasattr(model, "classify") == conditional


def test_grey_pictures_are_drawn_as_binary_ones():
    spec = zoo.DataSpec((1, 4, 4), 2)
    model = wild(zoo.create("gpt", spec, patch=[2, 2], **SMALL))
    assert model.density == zoo.Likelihood("exact", "binarised")
    x = torch.rand(10, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(zoo.log_prob(model, x), zoo.log_prob(model, binarise(x)))  # always the same ones
    labels = torch.arange(10) % 2
    torch.manual_seed(0)
    assert model.losses(x, labels)["loss"] == model.losses(x, labels)["loss"]
    model.train()
    assert model.losses(x, labels)["loss"] != model.losses(x, labels)["loss"]  # anew in training
    drawn = zoo.sample(model, 5, torch.tensor([0, 1, 0, 1, 0]), torch.Generator().manual_seed(0))
    assert drawn.shape == (5, 1, 4, 4)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert not hasattr(model, "forecast")
    with pytest.raises(zoo.ZooError, match="ngram=3 is of texts"):
        zoo.create("gpt", spec, ngram=3, share=0.5)


def test_a_pictures_likelihood_is_that_of_its_patches():
    """log p of a picture is the sum of what is said of each patch given those before it, whatever comes later."""
    spec = zoo.DataSpec((1, 4, 4), 2, values="binary")
    model = wild(zoo.create("gpt", spec, patch=[2, 2], conditional=False, **SMALL))
    x = (torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    tokens, total = model.patches.of(x), 0
    for place in range(4):
        later = torch.randint(16, tokens.shape, generator=torch.Generator().manual_seed(place))
        mixed = torch.where(torch.arange(4) < place, tokens, later)
        logits = model.logits(mixed, torch.zeros(6, dtype=torch.long))[:, place]
        total = total + logits.log_softmax(1).gather(1, tokens[:, place : place + 1])[:, 0]
    torch.testing.assert_close(zoo.log_prob(model, x), total)
