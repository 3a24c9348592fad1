"""Seconds that kernels take to compile: only an order, so that the longest start first."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from kregistry.build.report import CompiledKernel
from kregistry.cache import atomic


class Costs:
    """Measured seconds by family: those of this store, else those that ship with the package."""

    def __init__(self, store_directory: Path) -> None:
        self._path = store_directory / "costs.json"
        shipped = resources.files(__package__) / "compile_seconds.json"
        self._seconds: dict[str, float] = json.loads(shipped.read_text())
        self._seconds.update(_read(self._path))
        self._default: float = sum(self._seconds.values()) / len(self._seconds)

    def estimate(self, name: str) -> float:
        return self._seconds.get(name, self._default)

    def learn(self, compiled: Iterable[CompiledKernel]) -> None:
        """Remember the mean of each family; losing a race loses nothing but an estimate."""
        families: dict[str, list[float]] = {}
        for each in compiled:
            families.setdefault(each.kernel.name, []).append(each.seconds)
        if families:
            means = {name: round(sum(times) / len(times), 3) for name, times in families.items()}
            with contextlib.suppress(OSError):
                atomic.replace_file(self._path, json.dumps({**self._seconds, **means}, indent=1).encode())


def _read(path: Path) -> dict[str, float]:
    """What is there and makes sense; a damaged file costs only the order."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return {name: value for name, value in found.items() if isinstance(value, (int, float))}
    return {}
