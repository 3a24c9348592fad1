"""Recording: every (kernel type, shape, run-time value) that was called."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from kregistry.kernel_type import KernelType, Value
from kregistry.recording.manifest_building import build_manifest
from kregistry.recording.recorded_call import Key, Recorded
from kregistry.target import Target


class Recording:
    """The calls so far. Safe to use from several threads.

    Args:
        on_new: called for each (key, run-time value) that is met for the first time.
    """

    def __init__(self, on_new: Callable[[Key, int], None] = lambda key, m: None) -> None:
        self._on_new = on_new
        self._values: dict[Key, set[int]] = {}
        self._lock = threading.Lock()

    def add(self, kernel_type: str, shape: Mapping[str, Value], m: int) -> None:
        """Record one call."""
        key = (kernel_type, tuple(shape.items()))
        values = self._values.get(key)
        if values is not None and m in values:
            return
        with self._lock:
            values = self._values.setdefault(key, set())
            if m not in values:
                self._on_new(key, m)  # first: what could not be written is tried again at the next call
                values.add(m)

    def calls(self) -> tuple[Recorded, ...]:
        """All calls so far, sorted."""
        with self._lock:
            items = [Recorded(name, dict(shape), frozenset(values)) for (name, shape), values in self._values.items()]
        return tuple(sorted(items, key=lambda each: (each.kernel_type, [str(v) for v in each.shape.values()])))

    def manifest(
        self, kernel_types: Callable[[str], KernelType], target: Target, model: str = "recorded"
    ) -> dict[str, Any]:
        """The content of a ``kernels.yaml`` that covers every call, gaps between its run-time values included.

        Raises:
            UnknownNameError: ``kernel_types`` does not know a kernel type that was called.
        """
        return build_manifest(self.calls(), kernel_types, target, model)
