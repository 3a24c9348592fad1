"""Who is to know that a warm-up has ended, besides plugins."""

from __future__ import annotations

from typing import Protocol

from kregistry.events.warmed import WarmupOutcome
from kregistry.manifest import Manifest


class WarmupObserver(Protocol):
    """Called at the end of a warm-up, in the thread that called :func:`kregistry.warmup`, before it returns.

    :class:`kregistry.Dispatch` then covers the manifest, and :class:`~kregistry.jit_monitor.JitMonitor` counts kernels
    that are read from disk.
    """

    def warmed_up(self, manifest: Manifest, outcome: WarmupOutcome) -> None: ...
