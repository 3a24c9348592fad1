"""The environment variables by which a deployment controls the integrations."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from kregistry.manifest import Entry, load_manifest
from kregistry.registry import Registry
from kregistry.target import Target

log = logging.getLogger("kregistry.integrations")

#: Monitors that have started: each lives as long as its process.
_MONITORS: list[object] = []


def enabled(variable: str) -> bool:
    """Whether an integration is on: it is, unless its environment variable says ``0``, ``off``, ``false`` or ``no``."""
    return os.environ.get(variable, "1").strip().lower() not in ("0", "off", "false", "no")


def manifest_entries(registry: Registry, target: Target) -> tuple[Entry, ...]:
    """The entries of the manifest that ``KREGISTRY_MANIFEST`` names, of ``KREGISTRY_MODEL`` only if that is set.

    Raises:
        KregistryError: the manifest cannot be read, or has no such model.
    """
    path, model = os.environ.get("KREGISTRY_MANIFEST"), os.environ.get("KREGISTRY_MODEL")
    if not path:
        return ()
    return tuple(load_manifest(path, registry, target).select([model] if model else []).entries)


def start_monitor(registry: Registry) -> None:
    """Start the JIT monitor in the mode of ``KREGISTRY_JIT_MONITOR`` (default ``off``); a failure is logged."""
    from kregistry.jit_monitor import JitMonitor

    mode = os.environ.get("KREGISTRY_JIT_MONITOR", "off")
    if mode == "off":
        return
    with failures_logged("kregistry cannot start the JIT monitor"):
        # The engine loads its plugins before it needs a kernel, though often after it has imported deep_gemm.
        monitor = JitMonitor(registry, mode, log=os.environ.get("KREGISTRY_JIT_LOG")).start(deep_gemm_unused=True)
        _MONITORS.append(monitor)


@contextmanager
def failures_logged(text: str) -> Iterator[None]:
    """Log an exception of the block below ``text``, and go on: no failure of kregistry may end an engine."""
    try:
        yield
    except Exception:
        log.exception("%s", text)
