"""Students: what a classifier learns from samples alone."""

import pytest
import torch
from test_sample_quality import Photographer

import zoo
from zoo.data.splits import Split, load_splits
from zoo.tasks import students
from zoo.tasks.sample_quality import describe, evaluate_samples

pytestmark = pytest.mark.usefixtures("one_thread")


def test_synthetic_accuracy_is_learnt_from_samples_alone(monkeypatch):
    """A model whose "0" is a one, and so on, teaches just that."""
    digits = load_splits("digits", val_size=200)
    monkeypatch.setattr(students, "SYNTHETIC_STEPS", 40)
    monkeypatch.setattr(students, "SYNTHETIC_BATCH", 64)
    shifted = Split(digits.train.images, (digits.train.labels - 1) % 10)
    model = Photographer(shifted, digits.spec, classes=True)
    test = Split(digits.test.images, (digits.test.labels - 1) % 10)
    state = torch.get_rng_state()
    accuracy = students.synthetic_accuracy(model, test, n=400)
    assert torch.equal(torch.get_rng_state(), state)
    assert accuracy > 0.8
    (line,) = describe({"synthetic_accuracy": accuracy})
    assert f"{accuracy:.2%}" in line
    with pytest.raises(zoo.ZooError, match="images of a given class"):
        evaluate_samples(Photographer(shifted, digits.spec), digits, "digits", 100, synthetic=True)
