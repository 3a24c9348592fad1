"""The warm-up that replaces an engine's own: plan, parallel build, one launch for each kernel.

A build process makes the kernels of the whole model while weights load (:mod:`build_process`). The first call loads all
of them; after it, a call site is warmed up by itself only if that manifest did not cover it. A plan that an earlier
start left beside the store is used again while it holds, so that the next start goes straight to the launches.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from attrs import evolve

from kregistry.errors import KregistryError
from kregistry.integrations.ahead import Ahead, Waited
from kregistry.integrations.build_ahead import start_build
from kregistry.integrations.device_query import same_gpu
from kregistry.integrations.phases import PHASES
from kregistry.integrations.start_folder import StartFolder
from kregistry.integrations.switches import log_failure
from kregistry.kernel_type import Value
from kregistry.manifest import Entry, Manifest, load_manifest
from kregistry.manifest.model import Range
from kregistry.registry import Registry
from kregistry.serving.coverage import Coverage
from kregistry.store import Store
from kregistry.target import Target, detect_target

if TYPE_CHECKING:  # the thread of `Ahead` imports the warm-up while weights load; this module is imported before
    from kregistry.jit_monitor import JitMonitor
    from kregistry.warm_up import WarmupObserver, WarmupReport
    from kregistry.warm_up.prepare import PreparedWarmup

log = logging.getLogger("kregistry.integrations")

#: Share of the free device memory that launches may use: an engine has given most of it to its KV cache by then.
_MEMORY = 0.8


class EngineWarmup:
    """Warms up the call sites of one engine in one process.

    Args:
        engine: its name, for messages.
        registry: default: the installed plugins.
    """

    def __init__(self, engine: str, registry: Registry | None = None) -> None:
        self.engine = engine
        self.registry = registry or Registry()
        self.store = Store.default()
        #: Notified of each warm-up: the JIT monitor, and the watch for first calls.
        self.observers: list[WarmupObserver] = []
        self._monitor: JitMonitor | None = None
        self._target: Target | None = None
        #: Whether a warm-up runs now, kregistry's or the engine's: its calls are not calls of a model.
        self.warming = False
        #: The calls whose kernels this process has ready.
        self.coverage = Coverage()
        self._ahead: Ahead | None = None
        #: The folder of the last build of this start, if it has ended well.
        self._built: StartFolder | None = None

    @property
    def target(self) -> Target:
        """The device of this process."""
        if self._target is None:
            self._target = detect_target()
        return self._target

    @property
    def scale_forms(self) -> tuple[str, ...]:
        """The forms of scale factors to warm up.

        On Blackwell there are two: layers of SGLang and vLLM pass packed scale factors, their own warm-up float32 ones.
        """
        return ("f32",) if self.target.arch == "sm90" else ("ue8m0", "f32")

    def monitored_by(self, monitor: JitMonitor) -> None:
        """Keep a JIT monitor for the life of this process: it learns of warm-ups, and of providers that are chosen."""
        self._monitor = monitor
        self.observers.append(monitor)

    def engine_state(self) -> AbstractContextManager[None]:
        """What the engine needs around a warm-up, e.g. its own DeepGEMM or a setting. Subclasses override it."""
        return nullcontext()

    def entry(self, kernel_type: str, shape: Mapping[str, Value], stop: int, label: str = "", start: int = 1) -> Entry:
        """One call site, over every run-time value from ``start`` to ``stop`` that a server can reach.

        Raises:
            UnknownNameError: no plugin provides the kernel type.
            ShapeError: the kernel type refuses the shape.
        """
        known = self.registry[kernel_type]
        run = known.run_dimension
        first = run.start + max(0, start - run.start + run.step - 1) // run.step * run.step
        last = max(first, run.start + (stop - run.start) // run.step * run.step)
        resolved = known.resolve(shape, self.target)
        return Entry(self.engine, label, resolved, Range(run.name, first, last, run.step))

    def named_entries(self) -> tuple[Entry, ...]:
        """The entries of the manifest that ``KREGISTRY_MANIFEST`` names, of ``KREGISTRY_MODEL`` only if that is set.

        The providers that the manifest chooses hold from now on, for the JIT monitor too.

        Raises:
            KregistryError: the manifest cannot be read, or something in it is wrong.
        """
        path, model = os.environ.get("KREGISTRY_MANIFEST"), os.environ.get("KREGISTRY_MODEL")
        if not path:
            return ()
        manifest = load_manifest(path, self.registry, self.target).select([model] if model else [])
        self.registry = self.registry.choosing(manifest.providers)
        if self._monitor is not None:
            self._monitor.registry = self.registry
        return manifest.entries

    def begin(self, start: StartFolder) -> None:
        """Read in the background what a start's build process makes ready; the first call will load it."""
        PHASES.write_to(start.directory)
        if self._ahead is None:
            self._ahead = Ahead(start, self.registry, self.store)

    def load_what_was_built_ahead(self) -> None:
        """Wait for the build process of this start, and load its kernels. Does nothing the second time.

        Never raises: if that build has failed, call sites are warmed up one by one.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        try:
            with PHASES.phase("wait for the build"):
                prepared = ahead.wait()
            self._built = ahead.start if ahead.done else None
            if prepared is not None and prepared.manifest.entries:
                if same_gpu(prepared.manifest.target, self.target):
                    self._target = prepared.manifest.target  # entries of one target are compared with each other
                    self.registry = prepared.registry
                    self._launch(prepared)
                else:
                    log.warning("kregistry: built for %s, not for this GPU", prepared.manifest.target.device_name)
        except Exception as error:
            log_failure("kregistry: what was built ahead cannot be loaded; call sites are warmed up one by one", error)

    @property
    def can_build_again(self) -> bool:
        """Whether calls outside the manifest can be built by another process: one of this start has ended well."""
        return self._built is not None

    def build_again(self) -> bool:
        """Have what has been remembered since the last build made ready by another process, which all ranks share.

        Returns:
            whether it runs; else the reason is logged.
        """
        last, self._built = self._built, None
        if last is None:
            return False
        try:
            start, made = last.following()
            if made:
                start_build(start, {})
            log.info("kregistry: calls outside the manifest are built in the background: %s", start.log)
        except (OSError, KregistryError) as error:
            log.warning("kregistry cannot build in the background: %s", error)
            return False
        self._ahead = Ahead(start, self.registry, self.store)
        return True

    @property
    def builds_ahead(self) -> bool:
        """Whether the build of this start still runs."""
        return self._ahead is not None and self._ahead.builds

    @property
    def is_loaded(self) -> bool:
        """Whether nothing of this start is still to be loaded by this process."""
        return self._ahead is None

    def wait_for_call(self, kernel_type: str, shape: Mapping[str, Value], m: int) -> Waited:
        """Wait until DeepGEMM finds the kernels of a call on disk; the running build compiles them first.

        A call that the running build does not cover waits for nothing.
        """
        return Waited.EVERYTHING if self._ahead is None else self._ahead.wait_for_call(kernel_type, shape, m)

    def covers(self, entry: Entry) -> bool:
        """Whether this process has every kernel of an entry ready."""
        kernel_type, span = self.registry[entry.kernel_type], entry.range
        return all(self.coverage.covers(kernel_type, dict(entry.shape), m) for m in (span.start, span.stop))

    def warm(self, entries: Iterable[Entry]) -> WarmupReport:
        """Make the kernels of some call sites ready, and load them.

        Raises:
            KregistryError: a kernel cannot be planned, built or launched. The caller falls back to the engine's own
                warm-up. A kernel that does not compile raises nothing, since it would crash the engine's own warm-up.
        """
        from kregistry.warm_up.prepare import prepare_warmup

        manifest = Manifest(self.engine, self.target, (self.engine,), tuple(entries), {})
        with self.engine_state(), self.warming_up():
            prepared = prepare_warmup(manifest, registry=self.registry, store=self.store)
        return self._launch(prepared)

    def _launch(self, prepared: PreparedWarmup) -> WarmupReport:
        from kregistry.warm_up.budget import MemoryBudget
        from kregistry.warm_up.warm_up import launch_prepared

        with PHASES.phase("launches"), self.engine_state(), self.warming_up(), _all_sms(self.target):
            report = launch_prepared(prepared, MemoryBudget(fraction=_MEMORY), observers=self.observers)
        self.coverage.add(prepared.manifest)
        # A kernel that appears meanwhile may be one that the build process of this start has put there.
        evolve(report, compiled=()).raise_problems(allow_broken=True)
        for path in report.compiled:
            log.info("kregistry: a kernel was added to the JIT cache during the launches: %s", path)
        if report.build is not None and report.build.outdated:
            log.info("kregistry: %s", report.build.renewal)
        for broken in report.broken:
            log.warning("%s", broken)
        for each in report.left:
            log.warning("left on disk: %s", each)
        log.info(
            "kregistry: %d kernels of %d call sites ready, %d built, %d launches in %.2f s",
            report.total,
            len(prepared.manifest.entries),
            len(report.build.compiled) if report.build else 0,
            len(report.launches),
            report.seconds,
        )
        return report

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """Mark the calls of the block as calls of a warm-up."""
        before, self.warming = self.warming, True
        try:
            yield
        finally:
            self.warming = before


@contextmanager
def _all_sms(target: Target) -> Iterator[None]:
    """Warm up with all SMs, even if the engine has set fewer around the call (SGLang's two-batch overlap)."""
    deep_gemm = sys.modules.get("deep_gemm")
    before = deep_gemm.get_num_sms() if deep_gemm else target.num_sms
    if deep_gemm is None or before == target.num_sms:
        yield
        return
    deep_gemm.set_num_sms(target.num_sms)
    try:
        yield
    finally:
        deep_gemm.set_num_sms(before)
