"""The examples in the docstrings of all that is public: each name has one, and it does what it says."""

import doctest
import inspect

import pytest
import torch

import zoo
from zoo import registry

FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


@pytest.mark.parametrize("name", zoo.__all__)
def test_an_example(name, tmp_path, monkeypatch):
    thing = getattr(zoo, name)
    if not callable(thing):
        pytest.fail(f"{name} is no function and no class: what is its example?")
    known = dict(registry._CLASSES)
    monkeypatch.chdir(tmp_path)  # a training writes its run where it is called
    text = inspect.getdoc(thing) or ""
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert test.examples, f"zoo.{name} has no example"
    said: list[str] = []
    with torch.random.fork_rng(devices=[]):
        failed = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=said.append).failed
    for added in [name for name, cls in registry._CLASSES.items() if cls.__module__.partition(".")[0] != "zoo"]:
        del registry._CLASSES[added]  # of the example itself
    registry._CLASSES.update(known)
    assert not failed, "".join(said)


def test_the_example_of_the_package():
    test = doctest.DocTestParser().get_doctest(zoo.__doc__, {}, "zoo", None, None)
    assert test.examples
    assert not doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test).failed
