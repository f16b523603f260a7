"""Which room may know which: the imports of the package, read from its source, point one way."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "zoo"

# a room, and the rooms that it may import from; its own files may import each other
ALLOWED = {
    "errors": "",
    "found": "errors",  # modules by their names, among them questions, which capability knows in no other way
    "terminal": "",
    "notebook": "",
    "plain": "errors",
    "archive": "errors plain",
    "files": "errors terminal",
    "download": "errors terminal",
    "schema": "errors files",
    "command": "errors schema terminal",
    "spec": "errors",
    "base": "errors found notebook spec",
    "checkpoint": "errors plain archive download files base",
    "registry": "errors plain files spec base checkpoint",
    "config": "errors plain terminal files schema found registry",
    "models": "errors spec base registry",
    "metrics": "errors",
    "data": "errors notebook plain download files found spec base",
    "capability": "errors found notebook spec base registry data",
    "questions": "errors base capability",
    "learners": "errors base registry checkpoint data metrics",
    "inspect": "errors terminal plain files found spec base capability questions data metrics",
    "tasks": "errors notebook plain terminal files spec base registry capability questions data metrics learners "
    "inspect",
    "run": "errors plain terminal files command config base registry checkpoint capability data learners inspect tasks",
}
# of the library: they may import from everywhere but from each other
USERS = ("textbook", "benchmarks", "fuzz", "commands", "__main__")
KNOWS_USERS = {
    "commands": "textbook benchmarks",
    "fuzz": "textbook commands",  # the table of models is one of the files that are read, a training reads others
}


def modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, wherever in it: within functions and for types, too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for name in names:
        while name and name not in known:  # what is imported from a module is no module
            name = name.rpartition(".")[0]
        found |= {name} if name else set()
    return found


def room(module: str) -> str:
    """The folder or file directly in the package that a module belongs to."""
    return module.split(".")[1] if "." in module else ""


KNOWN = modules()
ARROWS = {module: imports(path, KNOWN) - {module} for module, path in KNOWN.items()}


@pytest.mark.parametrize("name", sorted({room(module) for module in KNOWN} - {""}))
def test_a_room_knows_only_what_is_below_it(name):
    allowed = {*ALLOWED[name].split(), name} if name in ALLOWED else {*ALLOWED, name, ""}
    allowed |= {*KNOWS_USERS.get(name, "").split()}
    assert name in {*ALLOWED, *USERS}, f"{name} is a new room: say what it may import from"
    wrong = {
        f"{module} imports {other}"
        for module, others in ARROWS.items()
        if room(module) == name
        for other in others
        if room(other) not in allowed
    }
    assert not wrong


@pytest.mark.parametrize("name", ALLOWED)
def test_no_arrow_is_allowed_for_nothing(name):
    used = {room(other) for module, others in ARROWS.items() if room(module) == name for other in others}
    assert set(ALLOWED[name].split()) <= used


def test_rules_have_no_circle():
    """A room may only know rooms that do not know it, at no remove."""

    def below(name: str, path: tuple[str, ...] = ()) -> None:
        assert name not in path, " → ".join([*path, name])
        for other in ALLOWED[name].split():
            below(other, (*path, name))

    for name in ALLOWED:
        below(name)


def test_no_file_leads_back_to_itself():
    """Within a room, too, there is an order."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in done:
            return
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        for other in sorted(ARROWS[module]):
            if other != "zoo":  # the public names, which are looked up when they are asked for
                visit(other, (*path, module))
        done.add(module)

    for module in KNOWN:
        visit(module, ())
