"""The command line: what is printed into any stream, written into any file, and refused with a word to type."""

import ast
import csv
import functools
import html.parser
import io
import json
import math
import os
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import yaml
from conftest import CONFIGS, ROOT
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf
from rich.table import Table

import zoo
import zoo.schema
from zoo import command, config, files, found, plain, terminal
from zoo.config.completion import completions
from zoo.inspect import progress
from zoo.run.announce import announce

ENCODINGS = ["utf-8", "cp1252", "ascii", "latin-1", "cp437"]
OURS = "log p(x) ≥ −1.5 ± 0.1 × 2 – … → Fréchet ✓"
NAMES = [
    "scan[front]", "q[/b]", "[bold]x[/]", ":smile:", "a\x1b[31mred", "two\nlines", "tab\tbed", "caf\udce9", "é", "日本",
    "\u202eabc", "\x9b31m", "$x_1^", "a,b", 'say "no"', "<b>&amp;",
]  # fmt: skip


def python(code: str, *words: str, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **options.pop("environment", {})}
    return subprocess.run([sys.executable, "-c", code, *words], env=environment, timeout=120, **options)


# The first word


def test_a_training_says_what_it_is_before_anything_slow_is_imported():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['lightning'] = None\n"
        "sys.argv = ['train.py', 'model=gmm', 'data=digits', 'trainer.max_epochs=7']\n"
        "from zoo.commands.train import main; main()"
    )
    done = python(code, capture_output=True, text=True)
    assert done.stdout == "gmm on digits: 7 epochs\n"
    assert done.returncode != 0  # there is no torch
    assert "torch" in done.stderr


@pytest.mark.parametrize(
    ("trainer", "resume", "heading", "expected"),
    [
        ({"max_epochs": 1, "max_steps": -1}, None, "", "m on d: 1 epoch\n"),
        ({"max_epochs": 1200, "max_steps": 5}, None, "", "m on d: 1,200 epochs, 5 steps at most\n"),
        ({"max_epochs": 2, "max_steps": -1}, Path("runs/a"), "", "m on d: 2 epochs, going on in runs/a\n"),
        ({"max_epochs": 2, "max_steps": -1}, None, "2 of 4: a=1\n", "\n2 of 4: a=1\\n\nm on d: 2 epochs\n"),
    ],
)
def test_the_first_line(trainer, resume, heading, expected, capsys):
    announce({"model": {"name": "m"}, "data": {"name": "d"}, "trainer": trainer}, resume, heading)
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(("path", "name"), [("my/pictures/", "pictures"), ("a\nb.2023", "a\\nb.2023")])
def test_the_first_line_names_ones_own_folder(path, name, capsys):
    trainer = {"max_epochs": 1, "max_steps": -1}
    announce({"model": {"name": "vae"}, "data": {"name": "image_folder", "path": path}, "trainer": trainer})
    assert capsys.readouterr().out == f"vae on image_folder ({name}): 1 epoch\n"


@pytest.mark.parametrize(
    ("model", "values", "expected"),
    [
        ("mlp", {"train/loss": 0.17219, "val/accuracy": 0.965, "val/nll": 0.1126},
         "loss 0.1722  val accuracy 96.50%  val nll 0.1126"),
        ("gmm", {"train/log_likelihood": 1268.978, "val/log_likelihood": 1241.93, "val/accuracy": 0.99, "val/nll": 0.1},
         "log p(x,y) 1268.98  val log p(x,y) 1241.93 nats  val accuracy 99.00%"),
        ("gmm", {"train/log_likelihood": -12689.78, "val/log_likelihood": -12419.3, "val/accuracy": 0.99},
         "val log p(x,y) -12419.30 nats  val accuracy 99.00%"),
        ("vae", {"train/loss": 10212.81, "train/log_likelihood": -10212.81, "val/log_likelihood": -99.5},
         "log p(x) ≥ -10212.81  val log p(x) ≥ -99.5000 nats"),
        ("vae", {"train/loss": 10212.81, "train/log_likelihood": -10212.81}, "log p(x) ≥ -10212.81 nats"),
        ("vae", {"train/loss": 410.5, "train/log_likelihood": -512.25}, "loss 410.50  log p(x) ≥ -512.25 nats"),
        ("gpt", {"train/loss": 2.5, "train/log_likelihood": -99.5, "val/nats_per_token": 2.25, "val/accuracy": 1.0},
         "loss 2.5000  val nats/token 2.2500  val accuracy 100.00%"),
    ],
)  # fmt: skip
def test_the_line_of_an_epoch_has_units(model, values, expected):
    assert progress._line(7, values, zoo.create(model)) == f"epoch   7  {expected}"


# Printing


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", [OURS, *NAMES])
def test_every_text_fits_every_stream(encoding, text):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding, "spelled", newline="\n")
    stream.write(text)
    stream.flush()
    shown = written.getvalue().decode(encoding)
    assert shown == text or "\udce9" in text or encoding != "utf-8"
    if text == OURS and encoding == "ascii":
        assert shown == "log p(x) >= -1.5 +/- 0.1 x 2 - ... -> Fr\\xe9chet yes"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is_and_drives_no_terminal(encoding, name):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding, "spelled", newline="\n")
    console = terminal.console(file=stream, width=60, force_terminal=False)
    table = Table("name", terminal.printable(name), title=terminal.printable(name))
    table.add_row(terminal.printable(name), "1")
    console.print(table)
    console.print(f"line {name}")
    stream.flush()
    shown = written.getvalue().decode(encoding)
    spelled = terminal.printable(name).encode(encoding, "spelled").decode(encoding)
    assert shown.count(spelled) >= 3
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    lines = [line for line in shown.splitlines() if line.startswith(("|", "│", "┃"))]
    if name != "日本":
        assert len({len(line) for line in lines}) == 1  # columns stand below each other


def test_printable_escapes_what_python_would():
    assert terminal.printable("a\x1b[0m\n\udcff\u2028") == "a\\x1b[0m\\n\\xff\\u2028"
    assert terminal.printable("a\nb\tc", keep="\n\t") == "a\nb\tc"


TALK = f"""
import sys, zoo.command
@zoo.command.command
def main():
    for number in range(int(sys.argv[1])):
        print({OURS!a}, number)
        print({OURS!a}, file=sys.stderr)
    open(sys.argv[2], "w", encoding="utf-8").write("done")
main()
"""


@pytest.mark.parametrize(
    ("shell", "status"),
    [
        ("PYTHONIOENCODING=cp1252 {} >out", 0),
        ("PYTHONIOENCODING=ascii {} >out 2>err", 0),
        ("PYTHONIOENCODING=cp437:strict {} | cat >out", 0),
        ("env -u LANG LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {} >out", 0),
        ("{} >&-", 0),
        ("{} 2>&-", 0),
        ("{} <&- >&- 2>&-", 0),
        ("{} 2>/dev/null | head -1; exit ${{PIPESTATUS[0]}}", 141),
        ("{} 2>/dev/full", 0),
        ("{} >/dev/full", 2),
        ("echo y | {} >out", 0),
    ],
)
def test_work_is_not_lost_to_printing(shell, status, tmp_path):
    """Whatever becomes of what is printed, the program comes to its end, and says so by its exit status."""
    if "/dev/full" in shell and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    words = shlex.join([sys.executable, "-c", TALK, "3000" if "head" in shell else "3", "done"])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", shell.format(words)], cwd=tmp_path, env=environment, capture_output=True, timeout=60
    )
    assert (tmp_path / "done").read_text("utf-8") == "done"
    assert done.returncode == status
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_an_error_drives_no_terminal_either(capsys):
    @command.command
    def main():
        raise zoo.ZooError("class 'a\x1b[31m[b]'\nsecond\udce9")

    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == "error: class 'a\\x1b[31m[b]'\nsecond\\xe9\n"


def test_what_is_too_large_is_told(capsys):
    @command.command
    def main():
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:131] DefaultCPUAllocator: not enough memory: you tried …")

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "too large" in capsys.readouterr().err


# Files


def strict(text: str):
    """JSON as the standard has it: no NaN, no lone surrogate."""

    def refuse(word):
        raise AssertionError(word)

    values = json.loads(text, parse_constant=refuse)
    json.dumps(values, ensure_ascii=False).encode()
    return values


def test_json_is_what_every_parser_takes(tmp_path):
    values = {"a": math.nan, "b": [math.inf, -math.inf, 1.5], **dict.fromkeys(NAMES, 1), "names": NAMES, "n": None}
    files.write_json(tmp_path / "x.json", {**values, "p": Path("x"), 3: (1, 2)})
    read = strict((tmp_path / "x.json").read_bytes().decode("ascii"))
    assert read["a"] is None
    assert read["b"] == [None, None, 1.5]
    assert read["3"] == [1, 2]
    assert read["names"] == [name.replace("\udce9", "\\xe9") for name in NAMES]


@pytest.mark.parametrize(
    "value",
    ["1e3", "no", "null", "~", "2024-01-01", "0o17", "0x1F", "1_000", "1:30", "", " a", "- a", "a: b", "#", "${x}",
     ".5", "1e-3", "+1.", "inf", "nan", ".nan", "Yes", "y", "'", *NAMES,
     1e-5, 1e300, 1.0, 3, True, None, [1, "1"], math.inf],
)  # fmt: skip
def test_yaml_comes_back_as_it_was(value, tmp_path):
    path = tmp_path / "x.yaml"
    files.write_yaml(path, {"b": {"key": value}, "a": [value]})
    assert plain.read_yaml(path) == {"b": {"key": value}, "a": [value]}
    if value not in ("${x}", "caf\udce9"):
        assert OmegaConf.to_container(OmegaConf.load(path)) == {"b": {"key": value}, "a": [value]}
    if isinstance(value, str):  # readers of YAML 1.2 take more for numbers
        assert "\udce9" in value or f": {value}\n" not in path.read_text("utf-8") or not value[:1].isdigit()


def test_csv_comes_back_as_it_was(tmp_path):
    shown = progress.Progress(tmp_path / "metrics.csv", terminal.console(quiet=True))
    shown._rows = [{"epoch": "1", **{f"val/{name}": "0.5" for name in NAMES}}, {"epoch": "2"}]
    shown._write()
    with (tmp_path / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert list(rows[0]) == ["epoch", *(f"val/{name}".replace("\udce9", "\\xe9") for name in NAMES)]
    assert len(rows) == 2


def test_html_shows_names_as_they_are(tmp_path):
    from jinja2 import Environment

    class Text(html.parser.HTMLParser):
        found = ""

        def handle_data(self, data):
            self.found += data

    page = Environment(autoescape=True).from_string("<p>{{ name }}</p>").render(name="<b>[x]&\udce9")
    files.write_text(tmp_path / "x.html", page)
    parser = Text()
    parser.feed((tmp_path / "x.html").read_text("utf-8"))
    assert parser.found == "<b>[x]&\\xe9"


def test_measurements_that_are_no_numbers_come_back(tmp_path):
    from zoo.textbook.compare import _known, _spelled

    values = {"a": [1.5, math.inf, None], "b": "word", "c": -math.inf, "d": {"e": math.nan}}
    read = _known(strict(files.json_text(_spelled(values))))
    assert read["a"] == [1.5, math.inf, None]
    assert (read["b"], read["c"]) == ("word", -math.inf)
    assert math.isnan(read["d"]["e"])


@pytest.mark.parametrize("path", sorted({*(ROOT / "zoo").rglob("*.py"), ROOT / "train.py", *(ROOT / "scripts").glob("*.py")}), ids=lambda path: path.name)  # fmt: skip # noqa: E501
def test_text_files_name_their_encoding(path):
    """Of the locale they are independent: where text is read or written, its encoding is named."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        modes = [ast.unparse(word) for word in node.args[: 2 if not owner else 1]]
        binary = any("b" in mode for mode in modes if mode[:1] == "'" and len(mode) < 7)
        where = f"{path.name}:{node.lineno} {called}"
        if called == "read_text":
            assert node.args or "encoding" in words, where
        elif called == "write_text" and owner:
            assert len(node.args) > 1 or "encoding" in words, where
        elif called == "open" and owner not in ("Image", "os", "gzip", "zipfile", "tarfile", "members") and not binary:
            assert "encoding" in words, where
        elif called in ("run", "Popen", "check_output") and words.get("text") == "True":
            raise AssertionError(where)


# Paths


def test_a_path_begins_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.user_path("~/x") == tmp_path / "x"
    assert files.user_path("x") == Path("x")
    monkeypatch.setenv("ZOO_DATA", "~/d")
    from zoo.data.splits import default_root

    assert default_root() == tmp_path / "d"
    monkeypatch.setenv("ZOO_MODELS", "~/m")
    (tmp_path / "m").mkdir()
    assert zoo.registry.user_directories() == [tmp_path / "m"]
    settings = config.settings(config.typed(["runs=~/x y", "data=image_folder", "data.path=~/p"]), CONFIGS)
    assert (settings["runs"], settings["data"]["path"]) == ("~/x y", str(tmp_path / "p"))


@pytest.mark.parametrize("path", ["~nobody2/x", "", "a\0b", "x" * 300, "~"])
@pytest.mark.parametrize("use", ["file", "ckpt", "root", "images", "out", "json", "data.path", "encoder"])
def test_what_can_be_no_path_is_refused(path, use, monkeypatch, tmp_path):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("posixpath.expanduser", lambda text: text)  # as for a user without an entry in passwd
    monkeypatch.chdir(tmp_path)
    uses = {
        "file": lambda: files.user_path(path),
        "ckpt": lambda: zoo.load(path),
        "root": lambda: zoo.data.splits.load_splits("digits", path or "\0"),
        "images": lambda: zoo.data.kinds.named_files([path], [".png"], "picture"),
        "out": lambda: zoo.checkpoint.save(zoo.create("naive_bayes"), path),
        "json": lambda: zoo.schema.check_value("json", path, None, "file"),
        "data.path": lambda: zoo.data.splits.load_splits("image_folder", tmp_path, path=path),
        "encoder": lambda: zoo.create("probe", encoder=path),
    }
    import zoo.checkpoint
    import zoo.data.kinds
    import zoo.data.splits
    import zoo.schema

    with pytest.raises(zoo.ZooError) as refused:
        uses[use]()
    assert len(str(refused.value)) < 400


def test_a_place_that_may_not_be_looked_at_is_told(monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(zoo.ZooError, match="Permission denied"):
        files.user_path("secret/x")


# What is refused, and what is to be typed


def refusal(*words: str) -> str:
    """What ``train.py`` says of a command line, without its job."""
    try:
        words = config.typed(words)
        config.check_words(words, CONFIGS)
        config.settings([word for word in words if not word.startswith("-")], CONFIGS)
    except zoo.ConfigError as error:
        text = str(error)
        assert len(text.splitlines()) <= 5
        return text
    return ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("model=cnn,mlp", "a sweep needs -m: zoo train -m model=cnn,mlp"),
        ("seed=1,2", "-m seed=1,2"),
        ("experiment=flow_vae", "did you mean 'flow_vae_mnist'?"),
        ("experiment=speed", "did you mean 'speed/fashion_90'"),
        ("experiment=mnist_99", "did you mean 'speed/mnist_99'"),
        ("model=CNN", "did you mean 'cnn'"),
        ("model.widht=3", "model=cnn has no option 'widht'; it has blocks, channels"),
        ("model=rnn model.channels=[3]", "model=rnn has no option 'channels', which autoregressive, cnn,"),
        ("model=rnn +model.channels=[3]", "model=rnn has no option 'channels', which autoregressive, cnn,"),
        (
            "data.path=x",
            "'path', which audio_folder, idx, image_folder, labelled_text, table, text have",
        ),
        ("learner.tolerance=0", "which em has"),
        ("experiment=speed/mnist_99 model=mlp", "configs/experiment/speed/mnist_99.yaml"),
        ("experiment=speed/mnist_99_4 model=mlp", "experiment=speed/mnist_99_4 sets it, in configs/experiment/speed/m"),
        ("recipe=cnn-mnist model=gmm", "recipe=cnn-mnist sets it"),
        ("--model=cnn", "(model=cnn)"),
        ("–model=cnn", "(model=cnn)"),
        ("—seed=3", "(seed=3)"),
        ("model = cnn", "no space stands around =: model=cnn"),
        ("model:cnn", "model=cnn"),
        ("model=", "the name of one option is needed"),
        ("model=null", "the name of one option is needed"),
        ("model=[cnn]", "the name of one option is needed"),
        ("~model", "cannot be left out"),
        ("+model=mlp", "without +"),
        ("+recipe=cnn-mnist", "without +"),
        ("=3", "no key before the ="),
        ("seed=${oops}", "typed 'seed=\"\\${oops}\"'"),
        ("data.path='a", "a quotation mark is missing"),
        ("resume=", "is empty"),
        ("data=image_folder data.path=", "is empty"),
        ("hydra/launcher=submitit_local", "pip install hydra-submitit-launcher"),
        ("hydra/launcher=ray", "pip install hydra-ray-launcher"),
        ("hydra/sweeper=optuna", "scripts/tune.py"),
        ("hydra/launcher=rq", "hydra/launcher=joblib"),
        ("trainer.early_stopping=3", "ends early by patience=…"),
        ("+trainer.early_stopping=3", "ends early by patience=…"),
        ("early_stopping=true", "ends early by patience=…"),
        ("learner.patience=2", "ends early by patience=…"),
        ("+trainer.auto_lr_find=true", "found by python scripts/rate.py"),
        ("lr_find=true", "found by python scripts/rate.py"),
        ("+trainer.callbacks=x", "'trainer.callbacks': callbacks are given in Python, to a Trainer of your own"),
        ("trainer.logger=csv", "logger=…"),
        ("model.classify_weight=1", "it is an option of model=m2"),
    ],
)
def test_a_hint_says_what_to_type(words, expected):
    assert expected in refusal(*words.split())


def test_what_is_given_twice_is_told():
    assert config.check_words(["model=cnn", "model=mlp"], CONFIGS) == [
        "model is given twice: model=mlp is taken, and model=cnn is not"
    ]
    assert not config.check_words(["seed=1", "model=mlp", "model=mlp"], CONFIGS)


def test_a_launcher_that_is_not_installed_is_named():
    error = MissingConfigException("", "hydra/launcher/joblib", ["basic"])
    assert "pip install hydra-joblib-launcher" in config.explain(error, [], CONFIGS)


STRINGS = [
    "my pics", "my pics [1], b", "a=b", "a,b", "it's", 'say "no"', "both ' and \"", "a{b}", "(a)", "a:b", "C:\\x\\y",
    "end\\", "\\", "$x", "${x}", "\\${x}", "a\\'b", 'a\\"b', "~/x", "~", "é", "日本", " a ", "a;b", "a&b", "#a", "!a",
    "`a`", "1", "1e3", "true", "null", "nan", "-1", "a*?", "%", "@a", "", "caf\udce9", "a\tb", "x\ny", "\x1b[31m", "--",
    "a|b", "a\\\\", "'", '"', "\\\\'", "a$", "[", "]", "{", "}", "1.5.2", "0x1", ".", "..", "a b=c,d",
]  # fmt: skip


@pytest.mark.parametrize("text", STRINGS)
def test_a_hint_means_the_string_when_it_is_pasted(text):
    """What is to be typed goes through a shell, Hydra's grammar and OmegaConf and is the string that was meant."""

    def pasted(typed: str) -> str:
        done = subprocess.run(["bash", "-c", f"printf '%s\\0' {typed}"], capture_output=True, check=True)
        (word,) = os.fsdecode(done.stdout).split("\0")[:-1]
        return word

    word = pasted(terminal.override("data.path", text))
    override = OverridesParser.create().parse_override(word)
    value = override.value()
    assert OmegaConf.to_container(OmegaConf.create({"path": value}), resolve=True)["path"] == text
    assert not override.is_sweep_override()
    assert pasted(terminal.word("ckpt", text)) == f"ckpt={text}"


@pytest.mark.parametrize("text", ["my pics [1], b", "a=b", "a,b", "it's", "a{b", "é", "(a)"])
def test_the_hint_itself_can_be_pasted(text):
    said = refusal("data=image_folder", f"data.path={text}")
    typed = said.splitlines()[-1].partition(" is typed ")[2]
    (word,) = shlex.split(typed)
    assert config.settings(["data=image_folder", word], CONFIGS)["data"]["path"] == str(Path(text).resolve())


# Numbers


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("seed", "0 4294967295", "-1 4294967296 1.5 nan 1e400 true"),
        ("data.split_seed", "0 9223372036854775807", "-1 9223372036854775808"),
        ("data.val_size", "0 0.1 0.999 5 0.0", "1.0 1.5 -1 -0.1 nan 1e400 1e30 2147483648"),
        ("data.train_size", "0 5", "0.5 -1 100000000000000000000"),
        ("data.labels", "0 5", "0.5 -1 1e3"),
        ("data.batch_size", "1 2147483647", "0 -1 2147483648 100000000000000000000 1.0"),
        ("data.augment.shift", "0 3", "-1 33 1000000000"),
        ("data.repeat", "1", "0 1e400"),
        ("trainer.max_steps", "-1 1 5", "0 -2 1.0 nan"),
        ("trainer.max_epochs", "1 2147483647", "0 -1 1e9 9999999999"),
        ("trainer.limit_train_batches", "1 1.0 0.5 7", "0 0.0 1.5 -1 nan 1e400 true 2147483648"),
        ("trainer.limit_val_batches", "0 0.0 1 1.0 0.5", "1.5 -1 nan"),
        ("trainer.fast_dev_run", "true false 0 1 3", "-1 1.5 nan"),
        ("trainer.devices", "auto -1 1 2 [0] [0,1]", "0 -2 [] [-1] 1.5 two 99999999999"),
        ("trainer.num_nodes", "1 2", "0 -1"),
        ("trainer.log_every_n_steps", "1 2147483647", "0 -1 2147483648"),
        ("trainer.check_val_every_n_epoch", "1 99", "0 1.5"),
        ("model.channels", "[1] [8,9]", "[0] [-1] [1000000000000] [1.5] 8 nan"),
        ("model.dropout", "0 0.5 1e-320", "1 -1 nan 1e400"),
        ("learner.optimizer.lr", "1e-9 1", "0 -1 nan 1e400"),
        ("learner.ema", "0 0.5", "1 -1 nan"),
        ("learner.clip", "0 1e30", "-1 nan 1e400"),
        ("learner.accumulate", "1", "0 1.5 2147483648"),
        ("logger.mistakes", "0 5", "-1 99999999999"),
    ],
)  # fmt: skip
def test_numbers_are_refused_where_they_cannot_be(key, good, bad):
    values, rules = schema()
    for value in good.split():
        zoo.schema.check_value(key, read(f"{key}={value}"), values[key], rules.get(key))
    for value in bad.split():
        with pytest.raises(zoo.ConfigError, match=key):
            zoo.schema.check_value(key, read(f"{key}={value}"), values[key], rules.get(key))


def read(word: str):
    return OverridesParser.create().parse_override(word).value()


@functools.cache
def schema(*words: str) -> tuple[dict, dict]:
    """Defaults and rules of all keys, as ``words`` choose the groups."""
    config.add_found_options(CONFIGS)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        plain = OmegaConf.to_container(compose("train", list(words)), resolve=True)
    found = {}
    for key in config.options.keys_of(plain, ""):
        found[key] = functools.reduce(lambda node, part: node[part], key.split("."), plain)
    return found, dict(config.options.rules_of(plain))


@pytest.mark.parametrize(
    "text", ["", "[", "{", "nan", "1e400", "-1", "0", "9" * 5000, "2147483648", "1.5", "true", "'"]
)
def test_a_script_refuses_what_is_no_count(text):
    with pytest.raises(zoo.ConfigError, match="n="):
        command.parse([f"n={text}"], {"n": zoo.schema.Option(3, "", "[1, inf)")}, "")


def test_a_number_may_have_an_exponent():
    """Which YAML takes for a word where there is no point before it."""
    assert command.parse(["low=1e-4"], {"low": zoo.schema.Option(0.5)}, "")[0] == {"low": 1e-4}
    with pytest.raises(zoo.ConfigError, match="low=many: a number is needed"):
        command.parse(["low=many"], {"low": zoo.schema.Option(0.5)}, "")


@pytest.mark.parametrize("group", ["model", "learner", "data", "logger", "trainer"])
def test_every_open_end_has_one(group):
    """No whole number of any option is taken that no memory holds, and none that is no number."""
    for option in config.options.options_of(group, CONFIGS):
        if option.startswith("_"):
            continue
        values, rules = schema(f"{group}={option}", "~recipe")
        for key, value in values.items():
            number = value[0] if isinstance(value, list) and value else value
            if not key.startswith(f"{group}.") or isinstance(number, bool) or not isinstance(number, int | float):
                continue
            for wrong in (math.nan, math.inf, *((2**64, -(2**64)) if isinstance(number, int) else ())):
                with pytest.raises(zoo.ConfigError, match=key):
                    zoo.schema.check_value(key, [wrong] if isinstance(value, list) else wrong, value, rules.get(key))


def test_a_bad_job_is_refused_before_the_first_begins():
    with pytest.raises(zoo.ConfigError, match=r"seed=4294967296(.|\n)*none was started"):
        config.check_sweep(["-m", "model=mlp", "seed=1,4294967296"], CONFIGS)
    with pytest.raises(zoo.ConfigError, match="model=cnnn"):
        config.check_sweep(["--multirun", "seed=range(0,2)", "model=mlp,cnnn"], CONFIGS)
    config.check_sweep(["-m", "model=mlp,cnn", "seed=range(0,2)", "data.path=a b", "data=image_folder"], CONFIGS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"devices": 10**6}, "at most"),
        ({"devices": -1}, "a number of processes"),
        ({"devices": [0]}, "a number of processes"),
        ({"num_nodes": 2}, "MASTER_ADDR"),
    ],
)
def test_processes_that_cannot_be_are_refused(options, expected, monkeypatch):
    from zoo.run.trainer import _check_devices

    for name in ("MASTER_ADDR", "SLURM_JOB_ID", "LSB_JOBID", "PBS_JOBID", "XRT_MESH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(zoo.ConfigError, match=expected):
        _check_devices({"accelerator": "cpu", "strategy": "ddp", "devices": 1, "num_nodes": 1, **options})


# As a user types it


def test_a_locale_without_utf_8_reads_the_yaml(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "LANG"}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "model=naive_bayes", "model.alpa=1"],
        env=environment, cwd=tmp_path, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"did you mean 'model.alpha'" in done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("zoo ev", ["evaluate"]),
        ("/usr/bin/zoo t", ["tables", "texts", "train", "tune"]),
        ("zoo train mod", ["model.", "model="]),
        ("zoo train model=c", ["model=cnn"]),
        ("python train.py model=c", ["model=cnn"]),
        ("python3 ./train.py data=_", []),
        ("./train.py se", ["seed="]),
        ("zoo train model.ch", ["model.channels="]),
        ("zoo train model.n", []),
        ("zoo train learner.s", ["learner.schedule."]),
        ("zoo train model=rnn seed=1 model.cell=", ["model.cell=gru", "model.cell=lstm", "model.cell=vanilla"]),
        ("zoo train -m model=rnn,mlp runs=~/x data.augment.fl", ["data.augment.flip="]),
        ("zoo train compile=t", ["compile=true"]),
        ("zoo train experiment=speed/mnist_99_", ["experiment=speed/mnist_99_4"]),
        ("zoo tune trials=3 tr", ["trainer.", "trainer=", "trials="]),
        ("zoo evaluate ck", ["ckpt="]),
        ("zoo evaluate ckpt=a split=t", ["split=test", "split=train"]),
        ("python scripts/sample.py ck", ["ckpt="]),
        ("zoo compare su", ["suite="]),
        ("python elsewhere/train.py model=c", []),
        ("python scripts/keep_figures.py ru", []),
        ("zoo oops se", []),
        ("zoo train 'a", []),
        ("python ", []),
        ("ls m", []),
        ("", []),
    ],
)
def test_the_tab_key_completes(line, expected, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert sorted(set(completions(line, CONFIGS))) == expected


def test_a_shell_completes_words():
    """Bash, by the function that it evaluates, without torch; where it cannot help, nothing is said."""
    expected = {
        "zoo ev": "evaluate", "zoo train model=c": "cnn", "zoo train model.ch": "model.channels=",
        "python scripts/sample.py ck": "ckpt=", "zoo train model=oops le": "", "python setup.py m": "", "ls m": "",
    }  # fmt: skip
    code = (
        'eval "$0"; COMP_WORDBREAKS=" ="; complete -p zoo python train.py >&2\n'
        'for COMP_LINE in "$@"; do COMP_POINT=${#COMP_LINE} COMPREPLY=(); _zoo_complete; echo "${COMPREPLY[*]}"; done'
    )
    words = ["bash", "-c", code, config.complete(["-sc", "install=bash"], CONFIGS), *expected]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, timeout=120)
    assert done.stdout.decode().splitlines() == [*expected.values()]
    assert done.stderr.decode().count("-F _zoo_complete") == len(done.stderr.splitlines()) == 3


def test_completion_imports_no_torch():
    code = (
        "import os, sys; sys.modules['torch'] = None; from zoo.__main__ import main\n"
        "for line in sys.argv[1:]:\n    sys.argv[1:] = ['-sc', 'query=bash']; os.environ['COMP_LINE'] = line; main()"
    )
    done = python(
        code, "zoo train mo", *(f"zoo {name} zzz" for name in found.names("zoo.commands")), capture_output=True
    )
    assert done.stdout.split() == [b"model.", b"model="]
    assert done.stderr == b""


@pytest.mark.parametrize("words", [["install=zsh"], ["query=bash"], ["uninstall=bash"], []])
def test_another_shell_is_told_that_there_is_bash(words, monkeypatch):
    monkeypatch.delenv("COMP_LINE", raising=False)
    with pytest.raises(zoo.ConfigError, match='bash alone, after eval "\\$\\(zoo train -sc install=bash\\)"'):
        config.complete(["-sc", *words], CONFIGS)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A run whose folder needs quotation marks, of a training with a profiler, into a stream of ASCII."""
    folder = tmp_path_factory.mktemp("runs [1], it's")
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "model=naive_bayes", "logger=none", "+trainer.profiler=simple",
         terminal.quoted(str(folder)).join(["runs=", ""])],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, cwd=folder, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return next(folder.iterdir()), done


def test_a_run_into_ascii(digits_run):
    run, done = digits_run
    done.stdout.decode("ascii")
    strict((run / "summary.json").read_text("utf-8"))
    assert yaml.safe_load((run / "config.yaml").read_text("utf-8"))["runs"] == str(run.parent)
    assert b"the whole profile is in" in done.stdout
    evaluate = next(line for line in done.stdout.decode().splitlines() if "evaluate.py" in line)
    assert shlex.split(evaluate)[-1] == f"ckpt={run}/best.ckpt"


def test_predict_names_files_as_they_are(digits_run, tmp_path):
    from PIL import Image

    names = ["scan[front].png", "q[b].png", ":smile:.png", "a\x1b[31m.png", os.fsdecode(b"caf\xe9.png")]
    for name in names:
        Image.new("L", (8, 8), 30).save(tmp_path / "x.png")
        os.replace(tmp_path / "x.png", tmp_path / name)
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "predict.py"), f"ckpt={digits_run[0]}", *names, "json=x.json"],
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "COLUMNS": "100", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode("cp1252")
    for name in names:
        assert terminal.printable(name) in shown
    answers = strict((tmp_path / "x.json").read_text("utf-8"))
    assert [answer["file"].replace("\\xe9", "\udce9") for answer in answers] == names
