"""What earlier versions wrote is read, and answers as it did; what they trained is trained again."""

import keep
import pytest
import torch
from conftest import run_train
from safetensors.torch import load_file

import zoo

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "pictures"
    keep.write_pictures(folder)
    keep.write_texts(folder.parent / keep.TEXTS)
    return folder


def test_every_case_is_kept():
    assert {path.name for path in keep.KEPT.iterdir()} == set(keep.CASES)


@pytest.mark.parametrize("case", keep.CASES)
@pytest.mark.parametrize("layout", ["last.ckpt", "release"])
def test_an_old_model_answers_as_it_did(case, layout):
    expected = load_file(keep.KEPT / case / "answers.safetensors")
    found = keep.answers(zoo.load(keep.KEPT / case / layout))
    assert set(found) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("case", keep.CASES)
def test_training_is_what_it_was(case, pictures, tmp_path):
    """The same weights, random numbers and history, but for the last digits that another processor may give."""
    run = run_train(tmp_path, *keep.words(case, pictures, keep.KEPT / "vae" / "release"))
    old, new = (torch.load(path / "last.ckpt", weights_only=True) for path in (keep.KEPT / case, run))
    assert old["global_step"] == new["global_step"]
    assert old["loader"] == new["loader"]
    assert torch.equal(old["rng"]["cpu"], new["rng"]["cpu"])
    assert list(old["state_dict"]) == list(new["state_dict"])
    for key, value in old["state_dict"].items():
        torch.testing.assert_close(
            new["state_dict"][key], value, rtol=1e-3, atol=1e-4, msg=lambda t, k=key: f"{k}: {t}"
        )
    for first, second in zip(old["optimizer_states"], new["optimizer_states"], strict=True):  # EM's has no state
        assert set(first.get("state", ())) == set(second.get("state", ()))
