"""Methods that only some instances of a class have: ``hasattr(model, "classify")`` tells the truth.

The idea is scikit-learn's ``available_if``: a descriptor asks the instance whenever the method is looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])


class _Available:
    """A method that is found where ``condition`` holds of the instance."""

    def __init__(self, condition: Callable[[Any], bool], method: Callable[..., Any]) -> None:
        self.condition = condition
        self.method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self.method
        if not self.condition(instance):
            raise AttributeError(self.method.__name__)
        return MethodType(self.method, instance)


def available_if(condition: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Decorator of a method that an instance has where ``condition(instance)`` is true, and lacks otherwise.

    >>> from zoo import available_if
    >>> class Model:
    ...     def __init__(self, classes):
    ...         self.classes = classes
    ...
    ...     @available_if(lambda model: model.classes > 1)
    ...     def classify(self):
    ...         return 0
    >>> hasattr(Model(10), "classify"), hasattr(Model(1), "classify")
    (True, False)
    """

    def decorate(method: Method) -> Method:
        return cast(Method, _Available(condition, method))

    return decorate
