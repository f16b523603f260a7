"""Names and the model classes behind them.

A model is one file in ``zoo/models``; the file's name is the model's name. Files of your own are found in the
directories that the environment variable ``ZOO_MODELS`` lists (separated as in ``PATH``): ``mynet.py`` with its
``mynet.yaml`` beside it. A class defined elsewhere in Python is known as soon as its ``@register`` has run.
Listing names imports nothing; a model's file is imported when the model is first asked for.

A model that was written to a file comes back by its name, too: what a file says is never a class or a function.
"""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
import inspect
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo import plain
from zoo.errors import CheckpointError, ZooError, did_you_mean
from zoo.files import released, user_path
from zoo.spec import DataSpec

if TYPE_CHECKING:
    from zoo.base.model import Model

COPIES = 10  # of a model's weights while it is trained: gradients, Adam's averages, and all of that written twice
LARGE = 2048  # values of an example from which on the size of models is looked at before they are built
_CLASSES: dict[str, type[Model]] = {}
_HOME = Path(__file__).parent / "models"
_Model = TypeVar("_Model", bound="type[Model]")


def register(name: str) -> Callable[[_Model], _Model]:
    """Class decorator that makes a model known by ``name``. The constructor takes a ``DataSpec`` and its options.

    >>> import zoo
    >>> @zoo.register("always_zero")
    ... class AlwaysZero(zoo.Classifier):
    ...     def forward(self, x):
    ...         return x.new_zeros(len(x), self.spec.num_classes)
    >>> "always_zero" in zoo.list_models()
    True

    Raises ``ZooError`` where the name is taken, or the class does not extend ``zoo.Model``.
    """

    def decorator(cls: _Model) -> _Model:
        from zoo.base.model import Model

        if not (inspect.isclass(cls) and issubclass(cls, Model)):
            raise ZooError(f"{getattr(cls, '__name__', cls)} is registered as {name!r} and must extend zoo.Model")
        known = _CLASSES.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ZooError(f"the name {name!r} is taken by {known.__module__}.{known.__qualname__}")
        if (_HOME / f"{name}.py").is_file() and cls.__module__ != f"zoo.models.{name}":  # not imported yet
            raise ZooError(f"the name {name!r} is taken by zoo.models.{name}")
        _CLASSES[name] = cls
        return cls

    return decorator


def user_directories() -> list[Path]:
    """The directories in ``ZOO_MODELS``. Raises ``ZooError`` where one does not exist."""
    directories = [user_path(entry) for entry in os.environ.get("ZOO_MODELS", "").split(os.pathsep) if entry]
    for directory in directories:
        if not directory.is_dir():
            raise ZooError(f"ZOO_MODELS names {str(directory)!r}, which is no directory")
    return directories


def _files() -> dict[str, Path]:
    """Model files by model name; the zoo's own come first and cannot be replaced from outside."""
    found: dict[str, Path] = {}
    for directory in [_HOME, *user_directories()]:
        for path in sorted(directory.glob("*.py")):
            if not path.stem.startswith("_"):
                found.setdefault(path.stem, path)
    return found


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """The sorted names of all known models that match a shell-style ``pattern``, such as ``"*n"``; or of all that are
    ``pretrained``, released with their weights, such as ``"cnn-mnist"``: :func:`load` takes them from anywhere.

    >>> import zoo
    >>> zoo.list_models("*n")
    ['cnn', 'dcgan', 'logistic_regression', 'rnn']
    >>> "cnn-mnist" in zoo.list_models(pretrained=True)
    True
    """
    known = _files().keys() | _CLASSES.keys()
    if pretrained:
        known = {name for name in released() if name.partition("-")[0] in known}
    return sorted(fnmatch.filter(known, pattern))


def model_class(name: str) -> type[Model]:
    """The class registered as ``name``. Raises ``ZooError`` with the nearest names if there is none, or where its file
    cannot be imported."""
    if name not in _CLASSES:
        path = _files().get(name)
        if path is None:
            hint = did_you_mean(name, list_models(), "known models")
            raise ZooError(f"unknown model {name!r}: {hint}")
        if path.parent == _HOME:
            importlib.import_module(f"zoo.models.{name}")
        else:
            _import_file(f"zoo_user_models.{name}", path)
        if name not in _CLASSES:
            raise ZooError(f'{path.name} defines no class decorated with @register("{name}")')
    return _CLASSES[name]


def _import_file(module_name: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        if isinstance(error, ZooError) or not isinstance(error, Exception):
            raise
        lines = [place.lineno for place in traceback.extract_tb(error.__traceback__) if place.filename == str(path)]
        line = getattr(error, "lineno", None) or (lines or [None])[-1]
        raise ZooError(
            f"{path} cannot be imported: {type(error).__name__}{f' in line {line}' if line else ''}: "
            f"{(str(error).splitlines() or [''])[0]}"
        ) from error


def options(name: str) -> dict[str, Any]:
    """The constructor options of a model with their defaults; ``inspect.Parameter.empty`` where one must be given."""
    parameters = list(inspect.signature(model_class(name)).parameters.values())[1:]
    return {parameter.name: parameter.default for parameter in parameters}


def create(name: str, spec: DataSpec | Mapping[str, Any] | None = None, **overrides: Any) -> Model:
    """Build a model by its registered name.

    >>> import zoo
    >>> model = zoo.create("cnn", zoo.DataSpec(shape=(3, 32, 32), num_classes=5), channels=[8, 16])
    >>> model.num_parameters
    2701

    Args:
        name: one of :func:`list_models`.
        spec: shape, classes and statistics of the data; 1×28×28 pixels and ten classes if left out.
        **overrides: the model's options, where they differ from its defaults.

    Returns:
        The model in training mode. Its ``config`` (plain data) is all that :func:`create` needs to build it again.

    Raises:
        ZooError: unknown name or option (with the nearest valid ones), a value the model refuses, or a model that is
            too large to be trained on this machine.
    """
    return _built(name, spec, overrides, trained=True)


def _built(name: str, spec: DataSpec | Mapping[str, Any] | None, overrides: Mapping[str, Any], trained: bool) -> Model:
    """As :func:`create`; where it is not to be ``trained``, how large it may be is not looked at."""
    cls = model_class(name)
    if not isinstance(spec, DataSpec):
        spec = DataSpec() if spec is None else DataSpec.from_dict(spec)
    if not _fits(cls, spec):
        if cls.kinds is not None and spec.kind not in cls.kinds:
            unfit = f"is for the kind {' or '.join(cls.kinds)}, and the data is of the kind {spec.kind}"
        else:
            unfit = f"is for {' or '.join(cls.takes)} values, and those of the data are {spec.values}"
        able = ", ".join(models_that(lambda other: _fits(other, spec))) or "none"
        of_sequences = spec.values == "counts" and "tokens" in cls.takes
        reads = "; of texts, data.reads=characters makes them" if of_sequences else ""
        raise ZooError(f"model {name!r} {unfit}{reads}; models for those: {able}")
    defaults = options(name)
    for key in overrides:
        if key not in defaults:
            raise ZooError(f"model {name!r} has no option {key!r}: {did_you_mean(key, defaults, 'its options')}")
    chosen = {**defaults, **overrides}
    missing = [key for key, value in chosen.items() if value is inspect.Parameter.empty]
    if missing:
        raise ZooError(f"model {name!r} has no default for {', '.join(missing)}: a value must be given")
    try:
        chosen = {key: _plain(value) for key, value in chosen.items()}
        if trained:
            _require_memory(cls, spec, chosen)
        model = cls(spec, **chosen)
        if trained:
            from zoo.base.bounded import check_loadable

            check_loadable(model)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]  # torch adds stack traces and lists of signatures
        raise ZooError(f"model {name!r}: {reason}") from error
    chosen |= model.resolved
    model.config = {"name": name, "spec": spec.to_dict(), "options": chosen}
    return model


def models_that(can: Callable[[type[Model]], bool]) -> list[str]:
    """The names of the known models whose classes can do something; one that cannot be imported can nothing."""

    def able(name: str) -> bool:
        try:
            return can(model_class(name))
        except ZooError:
            return False

    return [name for name in list_models() if able(name)]


def _fits(cls: type[Model], spec: DataSpec) -> bool:
    return spec.values in cls.takes and (cls.kinds is None or spec.kind in cls.kinds)


def _require_memory(cls: type[Model], spec: DataSpec, chosen: Mapping[str, Any]) -> None:
    """Raise ``ZooError``, before anything is allocated, where the model is too large to be trained on this machine.

    It is built without its numbers first, to count them, where examples are large. A constructor that cannot do without
    them is let be.
    """
    import torch

    from zoo.base import memory

    if math.prod(spec.shape) <= LARGE:
        return
    try:
        with torch.device("meta"):
            model = cls(spec, **chosen)
    except ZooError:
        raise
    except Exception:
        return
    weights = sum(parameter.nbytes for parameter in model.parameters())
    others = sum(buffer.nbytes for buffer in model.buffers())
    count = sum(parameter.numel() for parameter in model.parameters())
    what = f"{count:,} weights, with their gradients, two averages of each and a checkpoint in the making,"
    memory.require(COPIES * weights + others, what, cls.lighter)


def rebuild(config: Mapping[str, Any]) -> Model:
    """A model with new weights from the ``config`` of another one, also of an earlier version.

    As :func:`create`, but of any size: what is loaded was trained, and asking takes a tenth of the memory. Who loads it
    from a file compares it with what the file holds, see :mod:`zoo.base.bounded`. No path is taken from there.
    """
    name, options = renewed(config["name"], config["options"])
    for key in model_class(name).resolves:
        if isinstance(options.get(key), str):
            raise ZooError(f"model {name!r}: {key} is the path {plain.short(options[key])}, and a file names none")
    return _built(name, config["spec"], options, trained=False)


def renewed(name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and options of a model that an earlier version wrote down, as they are called now."""
    return model_class(name).renewed(name, dict(options))


def load(path: str | Path, ema: bool = True) -> Model:
    """Bring a model back, in eval mode, on the CPU, with neither its config nor its class given.

    >>> import zoo
    >>> zoo.load("cnn-mnist").name
    'cnn'

    Args:
        path: a ``.ckpt`` file, a run directory (its ``best.ckpt``, or ``last.ckpt`` where there is none), the folder of
            a released model, or its name, one of ``list_models(pretrained=True)``.
        ema: take the averaged weights where the checkpoint has them; False takes the raw ones.

    Raises:
        CheckpointError: see :func:`zoo.checkpoint.read_model`; also a model that is not registered, or weights that do
            not fit it.
    """
    return load_with_source(path, ema)[0]


def load_with_source(path: str | Path, ema: bool = True) -> tuple[Model, dict[str, Any]]:
    """As :func:`load`, and the ``ImageDataModule`` state of the training: what its splits are made from, {} if unknown.

    The file is read once.
    """
    from zoo import checkpoint  # composing a command line needs names alone, and no torch
    from zoo.base.bounded import bounded

    path = checkpoint.locate(path)
    entry, state, source = checkpoint.read_model(path, ema)
    sizes = [value.numel() for value in state.values() if hasattr(value, "numel")]
    try:
        with bounded(sum(sizes), len(sizes)):
            model = rebuild(entry)
    except (ZooError, TypeError) as error:  # TypeError: an option whose name is no argument's
        if entry["name"] not in list_models():
            raise CheckpointError(
                f"{path} holds a model {plain.short(entry['name'])}, which is not known here: import the module that "
                "registers it, or name its directory in ZOO_MODELS"
            ) from error
        raise CheckpointError(f"{path} cannot be built: {str(error)[:500]}") from error
    for key, value in model.state_dict().items():
        dtype = getattr(state.get(key), "dtype", value.dtype)
        if (dtype.is_complex, dtype.is_floating_point) != (value.dtype.is_complex, value.dtype.is_floating_point):
            raise CheckpointError(f"{key} in {path} is of {dtype}, and the model's is of {value.dtype}")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        problems = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(
            f"the weights in {path} do not fit the model {entry['name']!r}: {problems[0][:500]}{more}"
        ) from error
    return model.eval(), source


def _plain(value: Any) -> Any:
    """``value`` as lists, dicts, strings and numbers, fit for a checkpoint or JSON. ``TypeError`` where it has more."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "item"):  # a number of numpy's or torch's
        return value.item()
    raise TypeError(f"{value!r} is not plain data: options are numbers, strings and lists or dicts of them")
