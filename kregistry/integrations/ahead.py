"""What the build process of a start has made ready, read by a thread of an engine's process while weights load."""

from __future__ import annotations

import logging
import threading

from kregistry.integrations.build_ahead import SaysThatItWaits, wait_for_build
from kregistry.integrations.build_process import read_manifest
from kregistry.integrations.start_folder import StartFolder
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.warm_up.warm_up import PreparedWarmup, prepare_warmup

log = logging.getLogger("kregistry.integrations")


class Ahead:
    """Waits for a build in a thread of its own, and prepares the launches: what is left for the first call is to load.

    Args:
        start: the folder of the start.
        registry, store: those of this process.
    """

    def __init__(self, start: StartFolder, registry: Registry, store: Store) -> None:
        self._start = start
        self._registry = registry
        self._store = store
        self._prepared: PreparedWarmup | None = None
        self._thread = threading.Thread(target=self._prepare, name="kregistry-ahead", daemon=True)
        self._thread.start()

    def wait(self) -> PreparedWarmup | None:
        """The launches to make; ``None`` if the build has failed, which is logged."""
        with SaysThatItWaits(f"the build of this model's kernels ({self._start.log})"):
            self._thread.join()
        return self._prepared

    def _prepare(self) -> None:
        try:
            status = wait_for_build(self._start)
            if status.state != "done":
                log.warning("kregistry: the build ahead of the first call has failed: %s", status.text)
                return
            for each in status.left_out:
                log.warning("kregistry: left out: %s", each)
            log.info(
                "kregistry: %d kernels of this model on disk, %d built in %.1f s while the engine started",
                status.kernels,
                status.built,
                status.seconds,
            )
            manifest = read_manifest(self._start, self._registry)
            self._prepared = prepare_warmup(manifest, registry=self._registry, store=self._store)
            if self._prepared.report is not None:
                log.info("kregistry: the environment of the build differs from this process: planned once more")
        except Exception:
            log.exception("kregistry: what was built ahead cannot be read; call sites are warmed up one by one")
