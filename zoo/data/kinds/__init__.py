"""What an example is: a module a kind, found by its file's name; a :class:`zoo.spec.DataSpec` names its kind."""

from __future__ import annotations
