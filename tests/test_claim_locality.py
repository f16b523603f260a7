"""The claim of locality: what a rearrangement of pixels is, whom it cannot touch, how it is judged."""

import pytest
import torch

import zoo
from zoo.textbook.claim import INCONCLUSIVE, MEASURED, NOT_SUPPORTED, SUPPORTED, verdict
from zoo.textbook.claims import locality
from zoo.textbook.lab import Lab

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("arrangement", locality.ARRANGEMENTS)
def test_each_arrangement_is_a_seeded_permutation(arrangement):
    places = locality.order(arrangement, 28, 21, seed=3)
    assert places.sort()[0].tolist() == list(range(28 * 21))
    assert torch.equal(places, locality.order(arrangement, 28, 21, seed=3))
    other = locality.order(arrangement, 28, 21, seed=4)
    assert torch.equal(places, other) == (arrangement == "image")


def test_what_each_arrangement_leaves_in_place():
    def block_of(place):  # 4×6 pixels in blocks of 2: rows of three blocks
        return place // 6 // 2 * 3 + place % 6 // 2

    target = torch.arange(24)
    assert torch.equal(locality.order("image", 4, 6, seed=0), target)
    within = locality.order("within", 4, 6, seed=0, block=2)
    assert torch.equal(block_of(within), block_of(target))
    assert not torch.equal(within, target)
    moved = locality.order("blocks", 4, 6, seed=0, block=2).view(4, 6)
    assert not torch.equal(moved.flatten(), target)
    for top in (0, 2):  # every block of the result is a block of the image, unchanged
        for left in (0, 2, 4):
            corner = int(moved[top, left])
            assert corner // 6 % 2 == 0
            assert corner % 2 == 0
            assert moved[top : top + 2, left : left + 2].flatten().tolist() == [
                corner,
                corner + 1,
                corner + 6,
                corner + 7,
            ]


def test_blocks_that_do_not_tile_and_unknown_arrangements_are_refused():
    with pytest.raises(ValueError, match="do not tile"):
        locality.order("blocks", 28, 27, seed=0)
    with pytest.raises(ValueError, match="one of image, blocks, within, pixels"):
        locality.order("rows", 28, 28, seed=0)


def test_pixels_come_from_their_places_and_channels_stay_together():
    images = torch.arange(2 * 3 * 4).view(2, 3, 2, 2)
    moved = locality.rearrange(images, torch.tensor([3, 0, 1, 2]))
    assert moved[1, 2].flatten().tolist() == [23, 20, 21, 22]


def test_an_mlp_with_permuted_columns_is_the_same_function_of_permuted_images():
    spec = zoo.DataSpec((1, 28, 28), 10)
    torch.manual_seed(0)
    mlp = zoo.create("mlp", spec, hidden_sizes=(36, 36), dropout=0.0).eval()
    images = torch.rand(5, 1, 28, 28)
    places = locality.order("pixels", 28, 28, seed=1)
    expected = zoo.classify(mlp, images)
    first = mlp.body[0].weight
    first.data = first.data[:, places]
    torch.testing.assert_close(zoo.classify(mlp, locality.rearrange(images, places)), expected)


def test_a_quick_case_trains_and_is_repeatable(tmp_path):
    case = next(case for case in locality.cases("quick") if case.parameters["arrangement"] == "pixels")
    short = case.parameters | {"n": 300, "epochs": 2}
    measured = locality.measure(short, Lab(tmp_path))
    assert 0.2 < measured["accuracy"] < 1
    assert measured["tested"] == len(Lab(tmp_path).splits("digits").test)
    assert measured["parameters"] == 29_178
    assert measured == locality.measure(short, Lab(tmp_path))


def test_sizes_are_comparable_and_cases_are_distinct(tmp_path):
    quick = {case.parameters["model"]: case.parameters | {"epochs": 1, "n": 50} for case in locality.cases("quick")}
    sizes = {model: locality.measure(case, Lab(tmp_path))["parameters"] for model, case in quick.items()}
    assert sizes == {"cnn": 29_178, "mlp": 30_034}  # as the protocol says
    for suite in ("quick", "textbook"):
        parameters = [str(case.parameters) for case in locality.cases(suite)]
        assert len(set(parameters)) == len(parameters)


def test_what_is_judged_has_most_seeds():
    cases = locality.cases("textbook")
    assert sum(case.seconds for case in cases) <= 350
    seeds = {}
    for case in cases:
        key = tuple(case.parameters[part] for part in ("data", "arrangement", "model"))
        seeds.setdefault(key, []).append(case.parameters["seed"])
    assert {key: len(drawn) for key, drawn in seeds.items()} == {
        (data, arrangement, model): count
        for data, counts in (("mnist", {"image": 4, "pixels": 4, "blocks": 3, "within": 3}),
                             ("fashion_mnist", {"image": 4, "pixels": 4}))
        for arrangement, count in counts.items() for model in locality.MODELS
    }  # fmt: skip


TESTED = 1000


def rows(cnn, mlp, cnn_permuted, mlp_permuted):
    """Test images in the order of their difficulty; those that are too difficult are wrong."""
    wiggle = (-1, 0, 1)
    accuracy = {("cnn", "image"): cnn, ("mlp", "image"): mlp, ("cnn", "pixels"): cnn_permuted,
                ("mlp", "pixels"): mlp_permuted}  # fmt: skip
    found = []
    for (model, name), mean in accuracy.items():
        for seed in range(3):
            turn = (1 if model == "cnn" else -1) * (1 if name == "image" else -1)
            right = round(mean * TESTED) + wiggle[seed] * turn
            found.append({"data": "mnist", "model": model, "arrangement": name, "seed": seed,
                          "accuracy": right / TESTED, "tested": TESTED,
                          "wrong": list(range(right, TESTED))})  # fmt: skip
    return found


def test_the_textbook_is_supported_by_rows_that_say_so():
    found = {finding.key: finding for finding in locality.findings(rows(0.98, 0.95, 0.93, 0.95))}
    assert {key: finding.verdict for key, finding in found.items()} == {
        "mnist-images": SUPPORTED, "mnist-cnn-loses": SUPPORTED, "mnist-mlp-loses": MEASURED,
        "mnist-permuted": SUPPORTED,
    }  # fmt: skip
    assert found["mnist-images"].estimate == pytest.approx(3)
    # the images that only one of both can tell, 3 and 2 % of a thousand, and no others
    assert found["mnist-images"].error == pytest.approx(100 * (0.03 * 0.97 / TESTED) ** 0.5, rel=0.05)
    assert found["mnist-permuted"].error == pytest.approx(100 * (0.02 * 0.98 / TESTED) ** 0.5, rel=0.05)
    assert found["mnist-permuted"].estimate == pytest.approx(-2)
    assert verdict(list(found.values())) == SUPPORTED


def test_and_not_by_rows_that_do_not():
    assert verdict(locality.findings(rows(0.98, 0.95, 0.97, 0.95))) == NOT_SUPPORTED
    assert verdict(locality.findings(rows(0.98, 0.95, 0.955, 0.95))) == INCONCLUSIVE


def test_a_tie_says_that_the_advantage_is_gone():
    found = {finding.key: finding for finding in locality.findings(rows(0.98, 0.95, 0.95, 0.95))}
    assert found["mnist-permuted"].verdict == SUPPORTED
    assert found["mnist-permuted"].estimate == pytest.approx(0)


def test_figures_show_both_models_and_every_arrangement():
    found = locality.figures(rows(0.98, 0.95, 0.93, 0.95))
    assert set(found) == {"arrangements", "mnist"}
    (axes,) = found["mnist"].axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["CNN", "MLP"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["the image", "all pixels\npermuted"]
    assert found["arrangements"].axes[0].images[0].get_array().shape == (3 * 32 - 4, 2 * 32 - 4)
