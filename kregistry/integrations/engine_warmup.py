"""What an engine's warm-up becomes: plan, parallel build, one launch for each kernel.

Engines warm up call site by call site, at every start. A call site that was warmed completely leaves a receipt in the
store: the launches that are due and the cubins that they need. While those cubins exist and nothing that the plan
depends on has changed, the next start goes straight to the launches.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kregistry.cache import JitCache, Store, atomic
from kregistry.errors import KregistryError
from kregistry.kernel_type import Value
from kregistry.manifest import Entry, Manifest
from kregistry.manifest.model import Range
from kregistry.registry import Registry
from kregistry.target import Target, detect_target
from kregistry.toolchain import Versions, find_toolchain
from kregistry.warm_up import MemoryBudget, WarmupReport, warmup
from kregistry.warm_up.make import launch_all, launch_points, outline_of

log = logging.getLogger("kregistry.integrations")

#: Share of the free device memory that launches may use: an engine has given most of it to its KV cache by then.
_MEMORY = 0.8


class EngineWarmup:
    """Warms the call sites of one engine in one process.

    Args:
        engine: its name, for messages and receipts.
        registry: default: the installed plugins.
    """

    def __init__(self, engine: str, registry: Registry | None = None) -> None:
        self.engine = engine
        self.registry = registry or Registry()
        self.store = Store.default()
        self._target: Target | None = None

    @property
    def target(self) -> Target:
        """The device of this process."""
        if self._target is None:
            self._target = detect_target()
        return self._target

    def entry(self, kernel_type: str, shape: Mapping[str, Value], stop: int, label: str = "") -> Entry:
        """One call site, over every run-time value up to ``stop`` that a server can reach.

        Raises:
            UnknownNameError, ShapeError: kregistry does not know the kernel type, or refuses the shape.
        """
        known = self.registry[kernel_type]
        run = known.run_dimension
        last = max(run.start, run.start + (stop - run.start) // run.step * run.step)
        resolved = known.resolve(shape, self.target)
        return Entry(self.engine, label, resolved, Range(run.name, run.start, last, run.step))

    def warm(self, entries: Iterable[Entry]) -> WarmupReport:
        """Make the kernels of some call sites ready, and load them.

        Raises:
            KregistryError: a kernel cannot be planned, built or launched; the caller falls back to the engine's way.
        """
        manifest = Manifest(self.engine, self.target, (self.engine,), tuple(entries), {})
        receipt = self._receipt(manifest)
        report = self._from_receipt(manifest, receipt)
        if report is None:
            report = warmup(manifest, registry=self.registry, store=self.store, memory_budget=_MEMORY)
            report.raise_problems()
            if report.build is not None:
                self._leave(receipt, outline_of(report.build, JitCache()))
        for each in report.left:
            log.warning("left on disk: %s", each)
        log.info(
            "kregistry: %d kernels of %d call sites ready, %d built, %d launches in %.2f s",
            report.total,
            len(manifest.entries),
            len(report.build.compiled) if report.build else 0,
            len(report.launches),
            report.seconds,
        )
        return report

    def _from_receipt(self, manifest: Manifest, receipt: Path) -> WarmupReport | None:
        try:
            outline: dict[str, Any] = json.loads(receipt.read_text())
        except (OSError, ValueError):
            return None
        if not all(Path(cubin).exists() for cubin in outline["cubins"]):
            return None
        budget = MemoryBudget.parse(_MEMORY)
        report = launch_all(self.registry, manifest, launch_points(manifest, outline), outline, budget, {}, None)
        if report.failed or report.compiled:
            log.warning("a receipt was out of date: %d kernels were compiled in place", len(report.compiled))
            receipt.unlink(missing_ok=True)
            return None
        return report

    def _receipt(self, manifest: Manifest) -> Path:
        versions: Versions = find_toolchain().versions
        parts = {
            "target": repr(manifest.target),
            "entries": [f"{entry} {entry.range}" for entry in manifest.entries],
            "versions": versions.to_json(),
            "deep_gemm": _deep_gemm_place(),
            "settings": {name: value for name, value in sorted(os.environ.items()) if name.startswith(("DG_", "DJ_"))},
        }
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
        return self.store.directory / "receipts" / f"{self.engine}.{key}.json"

    @staticmethod
    def _leave(receipt: Path, outline: Mapping[str, Any]) -> None:
        try:
            receipt.parent.mkdir(parents=True, exist_ok=True)
            atomic.replace_file(receipt, json.dumps(outline).encode())
        except OSError as error:
            log.warning("no receipt is left: %s", error)


def _deep_gemm_place() -> list[str]:
    """Where DeepGEMM is and how old: a reinstalled one may have other headers under the same version."""
    import deep_gemm

    directory = Path(deep_gemm.__file__).parent
    return [str(directory), str((directory / "include").stat().st_mtime_ns)]


def enabled(variable: str) -> bool:
    """Whether an integration is on: it is, unless its environment variable says ``0``, ``off`` or ``false``."""
    return os.environ.get(variable, "1").strip().lower() not in ("0", "off", "false", "no")


def start_monitor(registry: Registry) -> None:
    """Start the JIT monitor in the mode of ``KREGISTRY_JIT_MONITOR`` (default off); the log says if it cannot."""
    from kregistry.jit_monitor import JitMonitor

    mode = os.environ.get("KREGISTRY_JIT_MONITOR", "off")
    if mode == "off":
        return
    try:
        # The engine loads its plugins before it needs a kernel, though often after it has imported deep_gemm.
        monitor = JitMonitor(registry, mode, log=os.environ.get("KREGISTRY_JIT_LOG")).start(deep_gemm_unused=True)
    except KregistryError as error:
        log.warning("the JIT monitor is not on: %s", error)
        return
    _MONITORS.append(monitor)  # it lives as long as the process


_MONITORS: list[object] = []
