"""Help: every key with its value, what it takes and what it is, in lines that fit a terminal."""

import contextlib
import importlib
import re
import sys

import pytest
from conftest import CONFIGS, ROOT, command

import zoo
from zoo import found
from zoo.__main__ import main
from zoo.config import help_text
from zoo.config.options import comments_of, flat
from zoo.plain import read_yaml
from zoo.schema import Option, allowed_by, check_value, table

COMMANDS = [name for name in found.names("zoo.commands") if name != "train"]
SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))


def test_keys_values_and_words_stand_in_columns():
    options = {
        "n": Option(3, "how many " + "of them " * 12, "[1, inf)"),
        "name": Option("a", "which", ["a", "b"]),
        "long": Option([1] * 12, "a value that leaves no room beside it"),
        "path": Option(None, "where"),
        "must": Option(..., "be given"),
        "quiet": Option(False),
    }
    lines = table(options).splitlines()
    assert max(map(len, lines)) <= 80
    column = lines[0].index("how many")
    first = {line.split()[0]: line for line in lines if line[2:3].strip()}
    assert [*first] == [*options]
    assert [first[key][:column].split()[1:] for key in ("n", "name", "path", "must", "quiet")] == [
        ["3"], ["a"], [], [], ["false"],
    ]  # fmt: skip
    assert first["long"].rstrip().endswith("1]")  # and what it is follows below
    assert all(line[:column].strip() == "" for line in lines if line[2] == " ")
    assert any(line.endswith("which (a, b)") for line in lines)
    assert "≥ 1" in table(options)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("[0, inf)", ""), ("[1, inf)", "≥ 1"), ("(0, inf)", "> 0"), ("[0, 1)", "in [0, 1)"), (["a", True], "a, true"),
        ("0 or [2, inf)", "0 or ≥ 2"), ("share (0, 1] or [1, inf)", "share (0, 1] or ≥ 1"), ("any", ""), ("file", ""),
        ("[0, 9223372036854775807]", "≥ 0"), ("(-inf, inf)", "any"), (None, ""), ([*range(20)], ""),
    ],
)  # fmt: skip
def test_a_rule_in_words(rule, words):
    assert allowed_by(rule) == words


def test_comments_are_those_behind_the_values(tmp_path):
    (tmp_path / "base.yaml").write_text("deep:\n  one: 1 # of the base\nkept: '#' # a sign\n")
    (tmp_path / "m.yaml").write_text(
        "# above\ndefaults: [base, _self_]\nwidth: 8 # of a layer\nsizes: [1, 2] # of # all\nnone: 3\n"
        "deep: # what is deep\n  two: 2\n\n_allowed_:\n  width: any # of no interest\n"
    )
    assert comments_of(tmp_path / "m.yaml") == {
        "deep.one": "of the base", "kept": "a sign", "width": "of a layer", "sizes": "of # all",
        "deep.two": "what is deep",
    }  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_key_of_a_command_is_told_and_its_default_obeys_its_rule(name):
    options = importlib.import_module(f"zoo.commands.{name}").OPTIONS
    for key, option in options.items():
        assert option.said, key
        if option.default not in (None, ..., "", 0, 0.0, []):
            check_value(key, option.default, option.default, option.rule)


@pytest.mark.parametrize("name", ["train", *COMMANDS])
def test_every_commands_help_fits_a_terminal(name, capsys, monkeypatch):
    """Its usage, too, as ``zoo …`` and as a script, whose names are longer; each names itself as it was started."""
    script = ROOT / ("train.py" if name == "train" else f"scripts/{name}.py")
    for started in ("/bin/zoo", str(script)):
        monkeypatch.setattr(sys, "argv", [started, "--help"])
        with contextlib.suppress(SystemExit):
            found.find("zoo.commands", name, "command", "commands").main()
        said = capsys.readouterr().out
        assert not [line for line in said.splitlines() if len(line) > 80]
        assert ("python " in said) == (started != "/bin/zoo")


@pytest.mark.parametrize("name", ["train", *COMMANDS])
def test_every_command_tells_the_version(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zoo", name, "--version"])
    main()
    assert capsys.readouterr().out == f"{zoo.__version__}\n"


def test_the_help_of_a_training_begins_with_what_else_there_is():
    head = help_text([], CONFIGS).partition("== Groups")[0]
    for told in ("--version", "-sc install=bash", "-m model=cnn,rnn", "python -m zoo --help"):
        assert told in head


def test_the_help_of_a_multirun_is_that_of_its_first_job():
    text = help_text(["-m", "model=lenet,mlp", "seed=3,4", "--help"], CONFIGS)
    assert "\nmodel=lenet\n" in text
    assert re.search(r"^  seed +3 ", text, re.M)
    with pytest.raises(zoo.ConfigError, match="no steps"):
        help_text(["-m", "seed=interval(0,1)", "--help"], CONFIGS)


def test_a_training_is_told_defaults_that_are_null_or_empty():
    text = help_text(["model=probe", "data=table"], CONFIGS)
    for key, value in {
        "resume": "null",
        "trainer.profiler": "null",
        "model.encoder": "null",
        "data.drop": "[]",
    }.items():
        assert re.search(rf"^  {re.escape(key)} +{re.escape(value)}( |$)", text, re.M), key


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_scripts_help_fits_a_terminal(name):
    said = command(f"scripts/{name}.py", "--help")
    assert said.returncode == 0, said.stderr
    assert not [line for line in said.stdout.splitlines() if len(line) > 80]
    assert "{" not in re.sub(r"\{[\w,]+\}", "", said.stdout.replace("{0", ""))


@pytest.mark.parametrize("group", ["model", "learner", "data", "trainer", "logger"])
def test_no_comment_of_an_option_is_lost(group):
    """What stands behind a value in a file is told by --help."""
    for path in (CONFIGS / group).glob("*.yaml"):
        text = path.read_text().partition("\n_allowed_:")[0]
        behind = [line for line in text.splitlines() if re.match(r"\s*\w+:.* # ", line)]
        own = comments_of(path)
        assert len([line for line in behind if line.partition(" # ")[2] in own.values()]) == len(behind), path


@pytest.mark.parametrize("group", ["model", "learner", "trainer", "logger"])
def test_every_option_says_what_it_is(group):
    """Its name alone is no help."""
    for path in (CONFIGS / group).glob("*.yaml"):
        said, keys = comments_of(path), {key for key, _ in flat(read_yaml(path), "")}
        silent = {key for key in keys if not said.get(key) and key.rpartition(".")[2] not in ("name", "defaults")}
        assert not {key for key in silent if not key.startswith("_allowed_")}, path
