"""The monitor of this process: it starts and stops, and passes on what compilers and inotify report."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

from kregistry.deep_gemm.cache_layout import all_roots
from kregistry.deep_gemm.settings import observe
from kregistry.errors import KregistryError, MissingRequirement, StorageError
from kregistry.events import JitEvent, JitOutcome, WarmupOutcome
from kregistry.import_hook import after_import
from kregistry.jit_monitor.compile_report import StartedCompile
from kregistry.jit_monitor.loads import LoadWatcher
from kregistry.jit_monitor.mode import Mode
from kregistry.jit_monitor.monitored_compiler import MonitoredCompiler
from kregistry.jit_monitor.report_socket import ReportSocket
from kregistry.manifest import Manifest
from kregistry.registry import Registry
from kregistry.scratch import make_scratch

_log = logging.getLogger("kregistry.jit_monitor")


class JitMonitor:
    """Reports every DeepGEMM compile of this process and its children, by a program in front of their compiler.

    A forked child has a monitor of its own. Other children report here, without a Python stack. A call that compiles
    nothing costs nothing: the monitor's thread sleeps, and the functions of DeepGEMM are not replaced.

    Args:
        registry: whose listeners hear ``kregistry_jit_compiled`` and ``kregistry_jit_loaded``, and whose kernel types
            read the calls; may be replaced at any time by a view of it (:meth:`~kregistry.Registry.choosing`).
        mode: see :class:`Mode`; may be changed at any time.
        log: file that events are appended to, one JSON object a line, for ``kregistry monitor``.
    """

    def __init__(self, registry: Registry, mode: Mode | str = Mode.WARN, log: str | Path | None = None) -> None:
        self.registry = registry
        #: Events by outcome, and ``loaded``.
        self.counts: Counter[str] = Counter()
        self._mode = Mode.parse(mode)
        self._log_file = Path(log) if log else None
        self._home: Path | None = None
        self._reports: ReportSocket | None = None
        self._loads: LoadWatcher | None = None
        self._compiler: MonitoredCompiler | None = None
        self._lock = threading.RLock()

    # ---- start and stop --------------------------------------------------------------------------------------

    def start(self, *, deep_gemm_unused: bool = False) -> JitMonitor:
        """Put the monitor in front of DeepGEMM's compiler.

        DeepGEMM asks for its compiler once, when it needs its first kernel.

        Args:
            deep_gemm_unused: the caller knows that deep_gemm, although imported, has not needed a kernel yet.

        Raises:
            MissingRequirement: deep_gemm is already imported, so that compiles could be missed; or there is no nvcc.
            StorageError: the log or a temporary directory cannot be written.
        """
        if "deep_gemm" in sys.modules and not deep_gemm_unused:
            raise MissingRequirement(
                "deep_gemm is already imported, and may have chosen its compiler",
                "start the monitor before deep_gemm is imported",
            )
        with self._lock:
            self._compiler = MonitoredCompiler()
            self._open(self._compiler)
            _after_fork(self)
        after_import("deep_gemm", observe)
        return self

    def _open(self, compiler: MonitoredCompiler) -> None:
        try:
            self._home, hold = make_scratch("monitor")
            self._write_mode()
            if self._log_file is not None:
                self._log_file.touch()
        except OSError as error:
            raise StorageError.from_oserror(error, self._log_file or self._home or "TMPDIR") from error
        self._reports = ReportSocket(self._home / "socket", self._begin, self._end)
        compiler.report_to(self._home)
        weakref.finalize(self, _remove, self._home, os.getpid(), hold)

    def stop(self) -> None:
        """End the monitor, once listeners have heard everything that it saw.

        DeepGEMM keeps the small program as its compiler, which then calls the real one.
        """
        with self._lock:
            if self._reports is None or self._home is None or self._compiler is None:
                return
            self._reports.close()
            if self._loads is not None:
                self._loads.close()
            self._reports = self._loads = None
            _remove(self._home, os.getpid())
            self._compiler.restore()
        self.registry.events.flush()

    def __enter__(self) -> JitMonitor:
        return self.start() if self._reports is None else self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _forked(self) -> None:
        """In the child of a fork: a thread, a directory and counts of its own."""
        if self._reports is None or self._compiler is None:
            return
        self._lock = threading.RLock()
        self._reports.abandon()
        self._loads = None
        self.counts = Counter()
        self._open(self._compiler)

    # ---- mode and loads --------------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, value: Mode | str) -> None:
        """From the next compile on, in this process and in children that have no monitor of their own."""
        parsed = Mode.parse(value)
        with self._lock:  # of two threads, the later one counts
            self._mode = parsed
            if self._reports is not None:
                self._write_mode()

    def _write_mode(self) -> None:
        assert self._home is not None
        fresh = self._home / "mode.new"
        fresh.write_text(self._mode.value)
        fresh.replace(self._home / "mode")

    def watch_loads(self) -> None:
        """From now on, count kernels that are read from the JIT cache.

        A warm-up with this monitor among its ``observers`` calls it.

        Raises:
            StorageError: the system has no inotify watch left.
        """
        with self._lock:
            if self._reports is not None and self._loads is None:
                self._loads = LoadWatcher([root / "cache" for root in all_roots()], self._loaded)
                self._reports.watch(self._loads.descriptor, self._loads.read)

    def warmed_up(self, manifest: Manifest, outcome: WarmupOutcome) -> None:
        """See :class:`kregistry.warm_up.WarmupObserver`."""
        try:
            self.watch_loads()
        except KregistryError as error:
            _log.warning("loads from disk are not counted: %s", error)

    # ---- reports, in the thread of the socket -------------------------------------------------------------------

    def _begin(self, report: dict[str, Any]) -> StartedCompile:
        return StartedCompile.read(self.registry, report)

    def _end(self, started: StartedCompile, report: dict[str, Any]) -> None:
        self._deliver(started.ended(report))

    def _deliver(self, event: JitEvent) -> None:
        self.counts[event.outcome.value] += 1
        if self._mode in (Mode.WARN, Mode.ERROR) or event.outcome is JitOutcome.FAILED:
            _log.warning("%s", event)
        if self._log_file is not None:
            line = json.dumps(event.to_json()).encode() + b"\n"
            with contextlib.suppress(OSError), self._log_file.open("ab", buffering=0) as file:
                file.write(line)  # one write at the end of the file: several processes may share it
        self.registry.hook.kregistry_jit_compiled(event=event)

    def _loaded(self, cubin: str) -> None:
        self.counts["loaded"] += 1
        self.registry.hook.kregistry_jit_loaded(cubin=cubin)


def _remove(home: Path, owner: int, hold: int | None = None) -> None:
    if os.getpid() == owner:
        shutil.rmtree(home, ignore_errors=True)
    if hold is not None:
        with contextlib.suppress(OSError):
            os.close(hold)


def _after_fork(monitor: JitMonitor) -> None:
    reference = weakref.ref(monitor)

    def forked() -> None:
        found = reference()
        if found is not None:
            found._forked()

    os.register_at_fork(after_in_child=forked)
