"""The monitor of this process: which compiler DeepGEMM is told to use, and who hears what it did."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from kregistry.deep_gemm.generated_source import read_instance
from kregistry.errors import KregistryError, MissingRequirement, StorageError
from kregistry.events import JitEvent, Outcome, WarmupOutcome
from kregistry.jit_monitor import call_stack
from kregistry.jit_monitor.listener import Listener
from kregistry.jit_monitor.loads import LoadWatcher, cache_directories
from kregistry.jit_monitor.mode import Mode
from kregistry.manifest import Manifest
from kregistry.registry import Registry
from kregistry.target import detect_target
from kregistry.toolchain import find_cuda_toolkit

_log = logging.getLogger("kregistry.jit_monitor")
_WRAPPER = Path(__file__).with_name("nvcc_monitor.sh")
_VARIABLES = ("DG_JIT_NVCC_COMPILER", "KREGISTRY_MONITOR", "KREGISTRY_MONITORED_NVCC", "KREGISTRY_MONITOR_PYTHON")


@frozen
class _Begun:
    """What is known when a compile begins."""

    report: dict[str, Any]
    pid: int
    process: str
    site: call_stack.CallSite


class JitMonitor:
    """Sees every DeepGEMM compile of this process and its children, through the compiler they are told to use.

    Children that fork get a monitor of their own; other children report here, without a Python stack. Without a
    compile there is no cost: the monitor's thread sleeps, and calls are not touched.

    Args:
        registry: whose listeners hear ``kregistry_jit_compiled`` and ``kregistry_jit_loaded``, and whose kernel types
            read the calls.
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
        self._listener: Listener | None = None
        self._loads: LoadWatcher | None = None
        self._before: dict[str, str | None] = {}
        self._lock = threading.RLock()

    # ---- life ------------------------------------------------------------------------------------------------

    def start(self, *, deep_gemm_unused: bool = False) -> JitMonitor:
        """Put the monitor in front of DeepGEMM's compiler.

        DeepGEMM asks for its compiler once, when it needs its first kernel.

        Args:
            deep_gemm_unused: the caller knows that deep_gemm, although imported, has not needed a kernel yet.

        Raises:
            MissingRequirement: deep_gemm is imported, so that the monitor could miss something; or there is no nvcc.
            StorageError: no temporary directory can be written, or the log cannot.
        """
        if "deep_gemm" in sys.modules and not deep_gemm_unused:
            raise MissingRequirement(
                "deep_gemm is already imported, and may have chosen its compiler",
                "start the monitor before deep_gemm is imported",
            )
        with self._lock:
            compiler = os.environ.get("DG_JIT_NVCC_COMPILER")
            if compiler == str(_WRAPPER):  # a parent's monitor: its compiler is behind this one as well
                compiler = os.environ.get("KREGISTRY_MONITORED_NVCC")
            if not compiler:
                toolkit = find_cuda_toolkit()
                compiler = str(toolkit.nvcc)
                os.environ.setdefault("CUDA_HOME", str(toolkit.home))
            self._before = {name: os.environ.get(name) for name in _VARIABLES}
            os.environ["KREGISTRY_MONITORED_NVCC"] = compiler
            self._open()
            _after_fork(self)
        return self

    def _open(self) -> None:
        try:
            self._home = Path(tempfile.mkdtemp(prefix="kregistry-monitor-"))
            self._write_mode()
            if self._log_file is not None:
                self._log_file.touch()
        except OSError as error:
            raise StorageError.from_oserror(error, self._log_file or Path(tempfile.gettempdir())) from error
        self._listener = Listener(self._home / "socket", self._begin, self._end)
        os.environ["DG_JIT_NVCC_COMPILER"] = str(_WRAPPER)
        os.environ["KREGISTRY_MONITOR"] = str(self._home)
        os.environ["KREGISTRY_MONITOR_PYTHON"] = sys.executable
        weakref.finalize(self, _remove, self._home, os.getpid())

    def stop(self) -> None:
        """Take the monitor away, once listeners have heard everything that it saw.

        DeepGEMM keeps the small script as its compiler, which then calls the real one.
        """
        with self._lock:
            if self._listener is None or self._home is None:
                return
            self._listener.close()
            if self._loads is not None:
                self._loads.close()
            self._listener = self._loads = None
            _remove(self._home, os.getpid())
            for name, value in self._before.items():
                if name == "KREGISTRY_MONITORED_NVCC":
                    continue  # DeepGEMM, which has read its compiler's name, still needs it
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
        self.registry.events.flush()

    def __enter__(self) -> JitMonitor:
        return self.start() if self._listener is None else self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _forked(self) -> None:
        """In the child of a fork: a thread, a directory and counts of its own."""
        if self._listener is None:
            return
        self._lock = threading.RLock()
        self._listener.abandon()
        self._loads = None
        self.counts = Counter()
        self._open()

    # ---- what it does ----------------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, value: Mode | str) -> None:
        """From the next compile on, in this process and in children that have no monitor of their own."""
        self._mode = Mode.parse(value)
        if self._listener is not None:
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
            if self._listener is not None and self._loads is None:
                self._loads = LoadWatcher(cache_directories(), self._loaded)
                self._listener.watch(self._loads.descriptor, self._loads.read)

    def warmed_up(self, manifest: Manifest, outcome: WarmupOutcome) -> None:
        """See :class:`kregistry.warm_up.WarmupObserver`."""
        try:
            self.watch_loads()
        except KregistryError as error:
            _log.warning("loads from disk are not counted: %s", error)

    # ---- reports, in the listener's thread -------------------------------------------------------------------

    def _begin(self, report: dict[str, Any]) -> _Begun:
        pid = report["caller"]
        site = call_stack.CallSite()
        if pid == os.getpid():
            try:
                site = call_stack.look(self.registry, report["child"])
            except Exception:  # whatever a plugin's reader does, the compile is reported
                _log.exception("the calling site cannot be read")
        return _Begun(report, pid, call_stack.command_line(pid), site)

    def _end(self, begun: _Begun, report: dict[str, Any]) -> None:
        kernel, template = read_instance(begun.report["source"])
        refused = begun.report["refuse"]
        outcome = Outcome.REFUSED if refused else Outcome.COMPILED if report["code"] == 0 else Outcome.FAILED
        event = JitEvent(
            time=begun.report["time"],
            pid=begun.pid,
            process=begun.process,
            kernel=kernel,
            template=template,
            outcome=outcome,
            seconds=report["seconds"],
            **asdict(begun.site),
            target=_target(),
        )
        self._deliver(event)

    def _deliver(self, event: JitEvent) -> None:
        self.counts[event.outcome.value] += 1
        if self._mode in (Mode.WARN, Mode.ERROR) or event.outcome is Outcome.FAILED:
            _log.warning("%s", event)
        if self._log_file is not None:
            line = json.dumps(event.to_json()).encode() + b"\n"
            with contextlib.suppress(OSError), self._log_file.open("ab", buffering=0) as file:
                file.write(line)  # one write at the end of the file: several processes may share it
        self.registry.hook.kregistry_jit_compiled(event=event)

    def _loaded(self, cubin: str) -> None:
        self.counts["loaded"] += 1
        self.registry.hook.kregistry_jit_loaded(cubin=cubin)


def _target() -> dict[str, Any]:
    try:
        return asdict(detect_target())
    except Exception:  # a process without a device, e.g. the parent of the one that compiles
        return {}


def _remove(home: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(home, ignore_errors=True)


def _after_fork(monitor: JitMonitor) -> None:
    reference = weakref.ref(monitor)

    def forked() -> None:
        found = reference()
        if found is not None:
            found._forked()

    os.register_at_fork(after_in_child=forked)
