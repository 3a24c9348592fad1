"""Text of values: of dimensions, as in a manifest, and of byte counts."""

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


def human_bytes(count: int) -> str:
    """``1536`` -> ``1.5 KiB``."""
    value, units = float(count), ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units:
        if value < 1024 or unit == units[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError
