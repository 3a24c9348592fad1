"""What the build process of a start has made ready, read by a thread of an engine's process while weights load."""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kregistry.errors import KregistryError
from kregistry.integrations.build_ahead import SaysThatItWaits, wait_for_build
from kregistry.integrations.phases import PHASES
from kregistry.integrations.start_folder import StartFolder, Status
from kregistry.integrations.switches import log_failure
from kregistry.integrations.waiting_calls import WaitingCall, ask, is_absent
from kregistry.kernel_type import Value
from kregistry.registry import Registry
from kregistry.store import Store

if TYPE_CHECKING:
    from kregistry.warm_up.prepare import PreparedWarmup

log = logging.getLogger("kregistry.integrations")

_LOOK_EVERY = 0.02


class Waited(enum.Enum):
    """What a call has waited for."""

    EVERYTHING = enum.auto()  #: The build has ended.
    ITS_KERNEL = enum.auto()  #: The build goes on; DeepGEMM finds the kernels of this call in its JIT cache.
    NOTHING = enum.auto()  #: The build goes on; it makes no kernel for this call.


class Ahead:
    """Waits for a build in a thread of its own, and prepares the launches: what is left for the first call is to load.

    Args:
        start: the folder of the start.
        registry, store: those of this process.
    """

    def __init__(self, start: StartFolder, registry: Registry, store: Store) -> None:
        self.start = start
        #: Whether the build has ended well.
        self.done = False
        self._registry = registry
        self._store = store
        self._prepared: PreparedWarmup | None = None
        self._answered: set[object] = set()
        self._thread = threading.Thread(target=self._prepare, name="kregistry-ahead", daemon=True)
        self._thread.start()

    def wait(self) -> PreparedWarmup | None:
        """The launches to make; ``None`` if the build has failed, which is logged."""
        with SaysThatItWaits(f"the build of this model's kernels ({self.start.log})"):
            self._thread.join()
        return self._prepared

    @property
    def builds(self) -> bool:
        """Whether the build still runs, or its result is being read."""
        return self._thread.is_alive()

    def wait_for_call(self, kernel_type: str, shape: Mapping[str, Value], m: int) -> Waited:
        """Wait until everything is ready, or the kernels of one call are in DeepGEMM's JIT cache.

        A call that the build does not cover waits for nothing: it is told so the first time that it asks.
        """
        key = (kernel_type, *shape.items(), m)
        if not self.builds:
            return Waited.EVERYTHING
        if key in self._answered:
            return Waited.ITS_KERNEL
        try:
            answer = ask(self.start, WaitingCall(kernel_type, shape, m))
        except (OSError, KregistryError) as error:
            log.warning("kregistry: a call waits for the whole build, since it cannot ask for its kernel: %s", error)
            self.wait()
            return Waited.EVERYTHING
        with PHASES.phase("wait for one kernel"), SaysThatItWaits(f"a kernel of {kernel_type} ({self.start.log})"):
            while self.builds:
                if answer.exists() or is_absent(answer):
                    self._answered.add(key)
                    return Waited.ITS_KERNEL if answer.exists() else Waited.NOTHING
                self._thread.join(_LOOK_EVERY)
        return Waited.EVERYTHING

    def _prepare(self) -> None:
        try:
            with PHASES.phase("build process"):
                status = wait_for_build(self.start)
            if status.state != "done":
                log.warning("kregistry: the build ahead of the first call has failed: %s", status.text)
                return
            self.done = True
            for each in () if self.start.is_further else status.unused:  # the first build has said it
                log.warning("kregistry: %s", each)
            for each in status.left_out:
                log.warning("kregistry: left out: %s", each)
            log.info(
                "kregistry: %d kernels of this model on disk, %d built in %.1f s while the engine started",
                status.kernels,
                status.built,
                status.seconds,
            )
            with PHASES.phase("plan of the build"):
                self._prepared = self._launches(status)
        except Exception as error:
            log_failure("kregistry: what was built ahead cannot be read; call sites are warmed up one by one", error)

    def _launches(self, status: Status) -> PreparedWarmup | None:
        """From the plan that the build process has made, if it is this process's too; else from one of our own.

        The engine's main thread runs Python meanwhile (it imports models), so this takes as little of it as it can:
        neither the fingerprint of the plan nor the kernels are checked again.

        Returns:
            ``None`` if nothing was to be built.
        """
        from kregistry.manifest import load_manifest
        from kregistry.warm_up.prepare import prepare_warmup
        from kregistry.warm_up.prepared_plan import read_prepared

        manifest = load_manifest(self.start.manifest, self._registry, self.start.read_target())
        if not manifest.entries:
            return None
        if status.plan:
            prepared = read_prepared(Path(status.plan), status.surroundings, manifest, self._registry)
            if prepared is not None:
                return prepared
        prepared = prepare_warmup(manifest, registry=self._registry, store=self._store)
        if prepared.report is not None:
            log.info("kregistry: the environment of the build differs from this process: planned once more")
        return prepared
