"""Launches every value of every range of a manifest once, and keeps how far it is in a file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

#: Values that are launched between two waits for the GPU; how far the sweep is is kept at each wait.
_LAUNCHES = 512


class Sweep:
    """Launches every value of every range once, in as many processes as it takes.

    Attributes:
        calls: launches so far, in all processes.
        missing: values that are not launched yet.
        seconds: duration of the launches so far.
        compile_attempts: compiles that were refused so far.
    """

    def __init__(self, file: Path, manifest: Any) -> None:
        self._file = file
        self._manifest = manifest
        self._values = [entry.range.values() for entry in manifest.entries]
        every = [f"{entry} {values}" for entry, values in zip(manifest.entries, self._values)]
        kept = json.loads(file.read_text()) if file.exists() else {}
        if kept.get("entries") != every or kept["done"] == [len(values) for values in self._values]:
            kept = {}  # the launches of another manifest, or complete ones
        self._every = every
        self._done: list[int] = kept.get("done", [0] * len(every))
        self.seconds: float = kept.get("seconds", 0.0)
        self.compile_attempts: int = kept.get("compile_attempts", 0)

    @property
    def calls(self) -> int:
        return sum(self._done)

    @property
    def missing(self) -> int:
        return sum(map(len, self._values)) - self.calls

    def add_compile_attempts(self, number: int) -> None:
        self.compile_attempts += number
        self._keep()

    def run(self, registry: Any, limit: float | None) -> None:
        """Launch what is missing, with buffers of the largest size, until `limit` seconds have passed.

        Where an index buffer starts with values that are valid for one value only, each value has buffers of its own.
        """
        import torch

        from kregistry.deep_gemm.settings import applied

        before, started = self.seconds, time.perf_counter()
        for number, (entry, values) in enumerate(zip(self._manifest.entries, self._values)):
            if self._done[number] == len(values):
                continue
            kernel_type = registry[entry.kernel_type]
            buffers = kernel_type.allocate_buffers(entry.shape, values[-1])
            specs = kernel_type.buffers(entry.shape, values[-1]).values()
            one_value_each = any(isinstance(spec.initial, tuple) for spec in specs)
            with applied(kernel_type, entry.shape):
                while self._done[number] < len(values):
                    first = self._done[number]
                    for m in values[first : first + _LAUNCHES]:
                        own = kernel_type.allocate_buffers(entry.shape, m) if one_value_each else buffers
                        kernel_type.execute(own, m)
                    torch.cuda.synchronize()
                    self._done[number] = min(first + _LAUNCHES, len(values))
                    spent = time.perf_counter() - started
                    self.seconds = before + spent
                    self._keep()
                    if limit is not None and spent > limit:
                        return
            del buffers
            torch.cuda.empty_cache()

    def _keep(self) -> None:
        kept = {"entries": self._every, "done": self._done, "seconds": self.seconds}
        new = self._file.with_name(f"{self._file.name}.new")
        new.write_text(json.dumps({**kept, "compile_attempts": self.compile_attempts}, indent=1) + "\n")
        new.replace(self._file)
