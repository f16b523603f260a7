"""What every model of the zoo carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from zoo.spec import DataSpec


class Model(nn.Module):
    """A module that knows its data, and how it was built.

    Attributes:
        spec: the data it was made for.
        config: ``name``, ``spec`` and ``options``, plain data, set by ``zoo.create``.
        resolved: options that were read from elsewhere, as plain data: ``config`` has these in their place.
    """

    spec: DataSpec
    config: dict[str, Any]
    resolved: Mapping[str, Any] = {}

    if TYPE_CHECKING:  # what a model can be asked depends on the model: see zoo.capability

        def __getattr__(self, name: str) -> Any: ...
