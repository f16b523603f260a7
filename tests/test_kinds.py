"""Kinds of data: one interface, decoding in one place, tables of numbers with missing values."""

import csv
import inspect
import math

import numpy as np
import pytest
import torch
from conftest import command, run_script, run_train
from PIL import Image

import zoo
from zoo.data import kinds
from zoo.data.augment import Augment
from zoo.data.batches import Batches
from zoo.data.datamodule import ImageDataModule
from zoo.data.splits import Loaded, Split, draw, load_splits, parted
from zoo.spec import VALUES, DataSpec
from zoo.tasks.augment import augment
from zoo.tasks.evaluate import evaluate
from zoo.tasks.predict import predict
from zoo.tasks.sample import draw_samples, write_samples

TABLE = DataSpec(
    (1, 1, 3), 2, ("no", "yes"), (1.0, 2.0, 3.0), (1.0, 2.0, 4.0), kind="table", values="real",
    columns=("age", "height", "weight"),
)  # fmt: skip
image, table = kinds.find("image"), kinds.find("table")


def rows(count=40, missing=False):
    values = torch.randn(count, 1, 1, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2
    if missing:
        values[::4, :, :, 1] = math.nan
    return Split(values, torch.arange(count) % 2, "table")


# The interface


@pytest.mark.parametrize("name", kinds.names())
def test_every_kind_has_the_interface(name):
    kind = kinds.find(name)
    methods = {key: value for key, value in vars(kinds.Kind).items() if inspect.isfunction(value) and key[0] != "_"}
    assert methods
    for method, declared in methods.items():
        expected = list(inspect.signature(declared).parameters)[1:]  # without self
        expected = [option for name in expected for option in (kind.OPTIONS if name == "options" else [name])]
        assert list(inspect.signature(getattr(kind, method)).parameters) == expected, method
    assert kind.VALUES in VALUES
    assert all(choices and all(isinstance(choice, str) for choice in choices) for choices in kind.SETTINGS.values())
    assert kind.FORMAT.isalpha()
    assert kind.NOUN.isalpha()
    assert not set(kind.OPTIONS) & set(inspect.signature(load_splits).parameters)
    assert set(kinds.Kind.__annotations__) == {"VALUES", "SETTINGS", "OPTIONS", "NOUN", "STRINGS", "FORMAT"}
    table_of_members = kinds.__doc__
    assert all(f"``{member}``" in table_of_members for member in [*methods, *kinds.Kind.__annotations__])


def test_an_unknown_kind_is_named():
    with pytest.raises(zoo.ConfigError, match="unknown kind of data 'imge': did you mean 'image'"):
        kinds.find("imge")


def test_settings():
    choices = {"invert": ("auto", "always", "never")}
    assert kinds.complete(choices) == {"invert": "auto"}
    assert kinds.complete(choices, {"invert": "never"}, {"invert": "always"}) == {"invert": "always"}
    with pytest.raises(zoo.ConfigError, match="no setting 'invrt': did you mean 'invert'"):
        kinds.complete(choices, {"invrt": "auto"})
    with pytest.raises(zoo.ConfigError, match=r"invert=perhaps is no choice.*never"):
        kinds.complete(choices, {"invert": "perhaps"})
    with pytest.raises(zoo.ConfigError, match="invert"):
        kinds.complete({}, {"invert": "auto"})
    assert kinds.complete({"missing": ("",)}, {"missing": "NA"}) == {"missing": "NA"}


# Decoding


def test_decode_and_encode_are_inverse_on_all_levels():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x = image.decode(levels)
    assert x.dtype == torch.float32
    assert torch.equal(x, levels.float() / 255)
    assert torch.equal(image.encode(x), levels)
    assert torch.equal(image.encode(x.double()), levels)
    assert image.decode(levels.double()).dtype == torch.float64
    assert torch.equal(image.decode(levels.double()), levels.double() / 255)


def test_encode_rounds_to_the_nearest_level_and_clamps():
    x = torch.tensor([-3.0, -1e-9, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1.0, 1.5, math.inf, -math.inf])
    assert image.encode(x).tolist() == [0, 0, 0, 1, 254, 255, 255, 255, 0]


def test_a_table_is_decoded_as_it_is():
    split = rows(missing=True)
    assert torch.equal(table.decode(split.images).nan_to_num(-1), split.images.nan_to_num(-1))
    assert table.encode(torch.ones(2, 1, 1, 3, dtype=torch.float64)).dtype == torch.float32


@pytest.mark.parametrize("split", [rows(), Split(torch.randint(256, (40, 3, 4, 5)).byte(), torch.arange(40))])
def test_a_split_decodes_all_and_in_chunks(split):
    kind = kinds.find(split.kind)
    assert torch.equal(split.x(), kind.decode(split.images))
    assert torch.equal(split.x(torch.float64), kind.decode(split.images.double()))
    assert split.x(torch.float64).dtype == torch.float64
    for size in (1, 7, 40, 100):
        parts = list(split.chunks(size))
        assert [len(x) for x, _ in parts] == [len(x) for x in split.images.split(size)]
        assert torch.equal(torch.cat([x for x, _ in parts]), split.x())
        assert torch.equal(torch.cat([labels for _, labels in parts]), split.labels)
    assert list(split.take(slice(0)).chunks(3)) == []


@pytest.mark.parametrize("kind", kinds.names())
def test_a_part_of_a_split_is_of_its_kind(kind):
    split = Split(torch.zeros(20, 1, 1, 3), torch.arange(20) % 2 - 1, kind)
    generator = torch.Generator().manual_seed(0)
    parts = [
        split.take(slice(3)), split.to("cpu"), split.labelled(), split.shuffled(5, generator), draw(split, 4),
        draw(split, 0), *parted(split, 6, generator),
    ]  # fmt: skip
    assert {part.kind for part in parts} == {kind}
    assert [len(part) for part in parts] == [3, 20, 10, 5, 4, 20, 14, 6]


def test_shuffled_draws_without_replacement():
    split = Split(torch.zeros(30, 1, 1, 1).byte(), torch.arange(30))
    drawn = split.shuffled(10, torch.Generator().manual_seed(3))
    assert len(set(drawn.labels.tolist())) == 10
    expected = torch.randperm(30, generator=torch.Generator().manual_seed(3))[:10]
    assert torch.equal(drawn.labels, expected)
    assert sorted(split.shuffled(99, torch.Generator()).labels.tolist()) == list(range(30))


# Tables


@pytest.mark.parametrize("missing", [False, True])
def test_statistics_of_a_table_are_numpys(missing):
    stored = rows(101, missing).images
    stored[:, :, :, 2] = 0.1  # constant, and no binary fraction
    mean, std = table.statistics(stored)
    values = stored.flatten(1).double().numpy()
    np.testing.assert_allclose(mean, np.nanmean(values, 0), rtol=1e-12)
    np.testing.assert_allclose(std[:2], np.nanstd(values, 0)[:2], rtol=1e-12)
    assert std[2] == 1
    assert table.has_missing(stored) is missing


def test_statistics_of_a_column_that_nobody_has_seen():
    stored = torch.full((4, 1, 1, 2), math.nan)
    assert table.statistics(stored) == ((0.0, 0.0), (1.0, 1.0))


def test_missing_values_survive_splits_and_batches(monkeypatch):
    from zoo.data import sources

    split = rows(50, missing=True)
    monkeypatch.setattr(sources.find("breast_cancer"), "load", lambda root: Loaded(split, columns=TABLE.columns))
    data = ImageDataModule("breast_cancer", val_size=10, batch_size=7)
    assert data.spec.missing
    assert [column.name for column in data.spec.columns] == ["age", "height", "weight"]
    shown = torch.cat([x for x, _ in data.train_dataloader()])
    kept = [data.splits.train.images, data.splits.val.images, data.splits.test.images]
    assert sum(int(part.isnan().sum()) for part in kept) == int(split.images.isnan().sum()) == 13
    assert int(shown.isnan().sum()) == int(kept[0].isnan().sum()) > 0
    mean, std = table.statistics(kept[0])  # of what is trained on
    np.testing.assert_allclose(mean, data.spec.mean, atol=1e-6)
    np.testing.assert_allclose(std, data.spec.std, atol=1e-6)


def test_the_spec_of_other_training_rows_has_their_statistics():
    splits = load_splits("breast_cancer", val_size=0.1)
    other = splits.with_train(splits.test.take(slice(50)))
    assert other.spec.mean == table.statistics(splits.test.images[:50])[0]
    assert len(other.val) == 0
    assert other.val.kind == "table"
    assert other.spec.columns == splits.spec.columns


def test_only_pictures_are_augmented():
    with pytest.raises(zoo.ConfigError, match=r"data\.augment changes pictures.*table"):
        ImageDataModule("breast_cancer", augment={"shift": 1})
    with pytest.raises(zoo.ConfigError, match=r"data\.augment"):
        Batches(rows(), 4, augment=Augment(flip=True))
    assert len(list(Batches(rows(), 4, augment=Augment()))) == 10


def test_classifiers_standardise_each_column():
    model = zoo.create("logistic_regression", TABLE)
    x = torch.tensor([1.0, 4.0, 7.0]).view(1, 1, 1, 3)
    assert torch.equal(model.normalize(x).flatten(), torch.tensor([0.0, 1.0, 1.0]))
    channels = zoo.create("mlp", DataSpec((2, 3, 3), mean=(0.5, 0.1), std=(0.5, 0.2)))
    assert channels.normalize.scale.shape == (1, 2, 1, 1)


def test_a_row_is_shown_as_a_square_of_cells():
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, -4.0, math.nan]]).view(2, 1, 1, 3)
    shown = table.show(x, TABLE)
    assert shown.shape == (2, 1, 2, 2)
    assert shown.flatten(1).tolist() == [[0.5, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]]
    pictures = torch.rand(2, 3, 4, 4)
    assert torch.equal(image.show(pictures, DataSpec((3, 4, 4))), pictures)
    assert torch.equal(image.show(pictures[:, :2], DataSpec((2, 4, 4))), pictures[:, :1])


# Files


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_columns_of_a_file_are_found_by_name(tmp_path):
    first = write(tmp_path / "a.csv", "id,weight,age,height", "p,3,1,2", "q,,4,5.5")
    second = write(tmp_path / "b.CSV", "\ufeffage,height,weight", "7,8,9")
    names, stored = table.read([first, second], TABLE)
    assert names == [f"{first}:2", f"{first}:3", f"{second}:2"]
    assert stored.dtype == torch.float32
    assert stored.shape == (3, 1, 1, 3)
    assert stored.nan_to_num(-1).flatten(1).tolist() == [[1, 2, 3], [4, 5.5, -1], [7, 8, 9]]
    assert table.find_files([str(tmp_path)]) == [first, second]
    unnamed = DataSpec((1, 1, 2), 2, kind="table", values="real")
    assert table.read([write(tmp_path / "c.csv", "u,v", "1,2")], unnamed)[1].flatten().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["age,height", "1,2"], ["'weight'"]),
        (["age,height,weight", "1,tall,3"], ["line 2", "'tall'", "'height'"]),
        (["age,height,weight"], ["no row"]),
        ([""], ["empty"]),
    ],
)
def test_a_file_that_is_no_such_table_is_named(lines, words, tmp_path):
    path = write(tmp_path / "rows.csv", *lines)
    with pytest.raises(zoo.DataError) as error:
        table.read([path], TABLE)
    assert all(word in str(error.value) for word in [str(path), *words])
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    Image.new("L", (4, 4), 200).save(tmp_path / "picture.png")
    for path, words in ((tmp_path / "picture.png", "no table at all"), (tmp_path / "none.csv", "no such file")):
        with pytest.raises(zoo.DataError, match=words):
            table.read([path], TABLE)
    with pytest.raises(zoo.DataError, match=r"holds no table \(\.csv, \.parquet\)"):
        table.find_files([str(tmp_path)])
    with pytest.raises(zoo.DataError, match="does not exist"):
        table.find_files([str(tmp_path / "none.csv")])


def test_what_is_written_is_read(tmp_path):
    split = rows(9, missing=True)
    assert table.write(split.images, split.labels, TABLE, tmp_path) == ["rows.csv"]
    _, stored = table.read([tmp_path / "rows.csv"], TABLE)
    assert torch.equal(stored.nan_to_num(-1), split.images.nan_to_num(-1))
    with (tmp_path / "rows.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == [TABLE.class_names[y] for y in split.labels.tolist()]


@pytest.mark.parametrize("settings", [{}, {"invert": "never"}])
def test_settings_of_a_spec_say_how_pictures_are_read(settings, tmp_path):
    Image.new("L", (4, 4), 200).save(tmp_path / "a.png")
    spec = DataSpec((1, 4, 4), settings={"invert": "always"})
    names, stored = image.read([tmp_path / "a.png"], spec, **settings)
    assert names == [str(tmp_path / "a.png")]
    assert stored.unique().tolist() == [200 if settings else 55]


def test_settings_that_are_none_are_refused_where_they_are_used(tmp_path):
    Image.new("L", (4, 4), 200).save(tmp_path / "a.png")
    model = zoo.create("mlp", DataSpec((1, 4, 4), settings={"invert": "perhaps"}))
    with pytest.raises(zoo.ZooError, match="invert=perhaps is no choice"):
        predict(model, [tmp_path / "a.png"])
    with pytest.raises(zoo.ZooError, match="no setting 'invert'"):
        table.read([tmp_path / "a.csv"], TABLE, invert="auto")


# Models of another kind


class Rows(zoo.Generative):
    """Draws rows of a table."""

    def __init__(self):
        super().__init__(TABLE, conditional=True)

    def sample(self, n, labels=None, generator=None):
        return torch.randn(n, 1, 1, 3, generator=generator) + 100 * labels[:, None, None, None]


def test_samples_of_a_table(tmp_path):
    samples = draw_samples(Rows(), 5, label=1)
    assert samples.images.dtype == torch.float32
    assert samples.images.min() > 50  # not brought to grey levels
    (file,) = write_samples(samples, tmp_path / "five")
    assert file.read_text().startswith("age,height,weight,class\n")
    (written,) = augment(Rows(), 6, tmp_path / "out")
    with written.open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["no", "yes"] * 3
    with pytest.raises(zoo.ZooError, match="format=png is none of csv"):
        augment(Rows(), 6, tmp_path / "other", "png")


def test_data_of_another_kind_or_shape_is_refused():
    model = zoo.create("logistic_regression", TABLE)
    pictures = Split(torch.zeros(4, 1, 1, 3).byte(), torch.zeros(4).long())
    with pytest.raises(zoo.DataError, match="the data is of the kind image, the model was made for the kind table"):
        evaluate(model, pictures)
    with pytest.raises(zoo.DataError, match="the examples are 1×1×2, the model was made for 1×1×3"):
        evaluate(model, Split(torch.zeros(4, 1, 1, 2), torch.zeros(4).long(), "table"))
    with pytest.raises(zoo.ZooError, match="grids: that is for the kind image"):
        TABLE.check_kind("image", "grids")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    words = ("data=breast_cancer", "model=logistic_regression", "trainer.max_epochs=2", "trainer.accelerator=cpu")
    return run_train(tmp_path_factory.mktemp("runs"), *words)


def test_commands_for_tables(trained, tmp_path, capsys):
    """TensorBoard's pictures, predictions of a file's rows, and what is for pictures alone: a sentence."""
    splits = load_splits("breast_cancer")
    few = splits.test.take(slice(4))
    table.write(few.images, few.labels, splits.spec, tmp_path)
    assert list(trained.glob("events.*"))
    said = command("scripts/predict.py", f"ckpt={trained}", str(tmp_path / "rows.csv"), "json=-").stdout
    assert said.count('"file"') == 4
    assert "rows.csv:2" in said
    for words, expected in (
        (("predict.py", str(tmp_path / "rows.csv"), "invert=auto"), "no setting 'invert'"),
        (("impute.py",), "logistic_regression cannot impute"),
        (("evaluate.py", "data=digits"), "the data is of the kind image"),
        (("detect.py", "against=digits"), "for the kind image"),
    ):
        with pytest.raises(SystemExit) as end:
            run_script(words[0], f"ckpt={trained}", *words[1:])
        assert end.value.code == 2
        err = capsys.readouterr().err
        assert expected in err
        assert len(err.splitlines()) == 1


# The spec


def test_a_spec_from_before_there_were_kinds():
    old = {"shape": [1, 4, 4], "num_classes": 2, "class_names": ["a", "b"], "mean": [0.5], "std": [1.0]}
    spec = DataSpec.from_dict({**old, "invert": "never"})
    assert spec.settings == {"invert": "never"}
    assert spec.to_dict() == {**old, "settings": {"invert": "never"}}
    assert spec == DataSpec.from_dict(spec.to_dict())
    assert hash(spec) == hash(DataSpec.from_dict(spec.to_dict()))


def test_a_spec_leaves_out_what_pictures_do_not_need():
    assert set(DataSpec().to_dict()) == {"shape", "num_classes", "class_names", "mean", "std"}
    words = DataSpec((1, 1, 3), 2, kind="table", values="counts", missing=True, vocabulary=("a", "b", "c"))
    values = words.to_dict()
    assert {"kind", "values", "missing", "vocabulary"} <= set(values)
    assert DataSpec.from_dict(values) == words
    assert TABLE.to_dict()["columns"] == ["age", "height", "weight"]


def test_statistics_are_per_channel_or_per_entry():
    assert DataSpec((3, 2, 2)).statistics_shape == (3, 1, 1)
    assert TABLE.statistics_shape == (1, 1, 3)
    assert DataSpec((2, 1, 3), std=(2.0,) * 6).mean == (0.0,) * 6
    for name in ("mean", "std"):
        with pytest.raises(zoo.ZooError, match=f"{name} has 5 entries where 2 are needed"):
            DataSpec((2, 1, 3), **{"mean": (0.0, 0.0), "std": (1.0, 1.0), name: (1.0,) * 5})
    with pytest.raises(zoo.ZooError, match="std has 2 entries where 6"):
        DataSpec((2, 1, 3), mean=(0.0,) * 6, std=(1.0, 1.0))


def test_rows_that_are_far_out_are_no_mistake():
    """A frame's numbers handed over as an array are told; standardised ones are asked about, however strange."""
    splits = load_splits("breast_cancer")
    x, in_units = splits.test.images, table.cells(splits.test.images, splits.spec).to_numpy()
    for part in (x, x[:1], torch.where(torch.rand(x.shape) < 0.02, 1000 * x, x), 60 * x[:1]):
        torch.testing.assert_close(table.convert(part, splits.spec), part)
    for part in (in_units, in_units[:1]):
        with pytest.raises(zoo.DataError, match="are to be standardised"):
            table.convert(part, splits.spec)
