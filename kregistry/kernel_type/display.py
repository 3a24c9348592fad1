"""Text of the values of dimensions, as in a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def _text(value: object) -> str:
    return "''" if value == "" else str(manifest_value(value))


def manifest_value(value: T | None) -> T | str:
    """The value itself; ``"none"`` for ``None``, as in a manifest."""
    return "none" if value is None else value


def show_shape(shape: Mapping[str, object]) -> str:
    """``"n=24 k=1024 num_splits=none"``"""
    return " ".join(f"{name}={_text(value)}" for name, value in shape.items())
