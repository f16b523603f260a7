"""Parts of a data set: scikit-learn's folds, and what is fitted in each."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

import zoo
from zoo.data.datamodule import ImageDataModule
from zoo.data.folds import in_fold, of_groups
from zoo.data.splits import load_splits


def test_folds_are_scikit_learns_and_part_the_data():
    labels = torch.arange(103) % 3
    ours = [in_fold(labels, None, 5, fold, seed=7) for fold in range(5)]
    theirs = StratifiedKFold(5, shuffle=True, random_state=7).split(labels, labels)
    for part, (_, test) in zip(ours, theirs, strict=True):
        assert part.tolist() == test.tolist()
    assert torch.cat(ours).sort()[0].tolist() == list(range(103))


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_folds_of_groups_are_scikit_learns(classes):
    generator = np.random.default_rng(classes)
    for seed in range(12):
        count, folds = int(generator.integers(60, 400)), int(generator.integers(2, 11))
        labels = torch.from_numpy(generator.choice(classes, count, p=generator.dirichlet(np.ones(classes) * 3)))
        groups = torch.from_numpy(generator.integers(0, count * int(generator.integers(1, 3)), count) // (1 + seed % 4))
        with warnings.catch_warnings(action="ignore"):  # of rare classes
            theirs = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(labels, labels, groups)
            for fold, (_, test) in enumerate(theirs):
                assert in_fold(labels, groups, folds, fold, seed).tolist() == test.tolist()


def test_a_group_is_in_one_fold():
    generator = torch.Generator().manual_seed(0)
    labels, groups = (torch.randint(high, (300,), generator=generator) for high in (2, 40))
    parts = [in_fold(labels, groups, 4, fold, seed=0) for fold in range(4)]
    assert torch.cat(parts).sort()[0].tolist() == list(range(300))
    held = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, held)) == len(groups.unique())
    share = labels.double().mean()
    assert all(abs(labels[part].double().mean() - share) < 0.1 for part in parts)
    some = of_groups(labels, groups, 60, seed=0)
    assert 40 <= len(some) <= 80
    assert len(of_groups(labels, torch.zeros(300), 60, seed=0)) == 0


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "german_credit"])
def test_every_example_is_tested_once(name):
    parts = [load_splits(name, folds=3, fold=fold, val_size=0.1) for fold in range(3)]
    whole = load_splits(name)
    assert sum(len(part.test) for part in parts) == len(whole.train) + len(whole.test)
    for fold, part in enumerate(parts):
        noun = "image" if name == "digits" else "row"
        assert f"the test split is fold {fold} of 3, {len(part.test):,} {noun}s" in part.notes
        assert len(part.val) == round(0.1 * (len(part.train) + len(part.val)))
    seeds = [load_splits(name, folds=3, split_seed=seed).test.labels for seed in (0, 1)]
    assert len(seeds[0]) == len(seeds[1])
    again = load_splits(name, folds=3, fold=1, val_size=0.1)
    assert torch.equal(again.test.images.float(), parts[1].test.images.float())


def test_an_official_test_split_is_left_alone():
    splits = load_splits("mnist", folds=10, fold=9)
    assert (len(splits.train), len(splits.test)) == (54_000, 6_000)
    assert "the official test split of 10,000 images is left alone" in splits.notes


def test_what_is_fitted_is_fitted_to_the_training_rows_of_each_fold():
    parts = [load_splits("breast_cancer", folds=3, fold=fold, val_size=0.2) for fold in range(3)]
    locations = {part.spec.columns[0].location for part in parts}
    assert len(locations) == 3
    for part in parts:
        values = part.train.images[:, 0, 0].double()
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(0, correction=0), 1, atol=1e-5)
        assert abs(float(part.test.images[:, 0, 0].mean())) > 1e-4


def test_hospitals_are_folds():
    sizes = [len(load_splits("heart_disease", split="hospital", folds=4, fold=fold).test) for fold in range(4)]
    assert sorted(sizes) == [123, 200, 294, 303]
    splits = load_splits("heart_disease", split="hospital", val_size=0.2)
    assert {len(splits.train) + len(splits.val), len(splits.test)} <= {
        920 - size for size in (*sizes, *(920 - size for size in sizes))
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folds": 1}, "at least 2"),
        ({"folds": 5, "fold": 5}, "from 0 to 4"),
        ({"fold": 1}, r"data\.fold=1 is no fold"),
        ({"folds": 1000}, "needs as many examples of a class, and there are 212"),
        ({"train_classes": ["benin"]}, "did you mean 'benign'"),
    ],
)
def test_folds_that_cannot_be_are_refused(options, words):
    with pytest.raises(zoo.ZooError, match=words):
        load_splits("breast_cancer", **options)
    with pytest.raises(zoo.DataError, match="needs as many groups of examples, and there are 4"):
        load_splits("heart_disease", split="hospital", folds=5)


def test_groups_of_nothing_are_not_parted():
    """All of a source with groups may be test: nothing is left of which a part could be set apart."""
    splits = load_splits("heart_disease", split="hospital", val_size=0.2, whole=True)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (0, 0, 920)


def test_classes_that_alone_are_trained_on():
    splits = load_splits("breast_cancer", val_size=0.2, train_classes=["benign"])
    assert set(splits.train.labels.tolist()) == set(splits.val.labels.tolist()) == {1}
    assert set(splits.test.labels.tolist()) == {0, 1}
    assert splits.spec.class_names == ("malignant", "benign")
    np.testing.assert_allclose(splits.train.images.double().mean((0, 1, 2)), 0, atol=1e-5)


def test_costs_of_mistakes():
    data = ImageDataModule("german_credit", costs=[1, 5])
    assert data.costs == (1.0, 5.0)
    assert data.state_dict()["costs"] == [1.0, 5.0]
    assert ImageDataModule("german_credit").costs is None
    with pytest.raises(zoo.ConfigError, match=r"costs=\[1, -5\].*'good'.*'bad'"):
        ImageDataModule("german_credit", costs=[1, -5])
    with pytest.raises(zoo.ConfigError, match="of two classes, and the data has 10"):
        ImageDataModule("digits", costs=[1, 5])


def test_a_model_from_before_columns_had_a_scale_sees_numbers_as_they_are():
    rows = load_breast_cancer()
    names, mean, std = rows.feature_names.tolist(), rows.data.mean(0).tolist(), rows.data.std(0).tolist()
    old = {"shape": [1, 1, 30], "num_classes": 2, "class_names": ["malignant", "benign"], "mean": mean, "std": std,
           "kind": "table", "values": "real", "columns": names}  # fmt: skip
    spec = zoo.DataSpec.from_dict(old)
    assert spec.to_dict() == old
    splits = load_splits("breast_cancer", like=spec)
    seen = torch.cat([splits.train.images, splits.test.images])[:, 0, 0]
    assert sorted(seen.tolist()) == sorted(torch.from_numpy(rows.data).float().tolist())
    assert splits.spec.columns == spec.columns


def test_many_groups_of_one_class_each_are_parted_as_examples_are():
    generator = torch.Generator().manual_seed(0)
    groups = torch.randint(1200, (1800,), generator=generator)
    labels = (torch.rand(1200, generator=generator) < 0.2).long()[groups]
    parts = [in_fold(labels, groups, 6, fold, seed=3) for fold in range(6)]
    assert torch.cat(parts).sort()[0].tolist() == list(range(1800))
    assert sum(len(groups[part].unique()) for part in parts) == len(groups.unique())
    assert all(abs(len(part) - 300) < 30 for part in parts)
    assert all(abs(float(labels[part].float().mean() - labels.float().mean())) < 0.03 for part in parts)
    mixed = labels.clone()
    mixed[groups == groups[0]] = torch.arange(int((groups == groups[0]).sum())) % 2  # slow, and right
    assert in_fold(mixed, groups, 6, 0, seed=3).tolist() != parts[0].tolist()
