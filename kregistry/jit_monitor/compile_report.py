"""From the two reports of a substitute compiler, one at its start and one at its end, to a JIT event."""

from __future__ import annotations

import logging
import os
from typing import Any

from attrs import asdict, frozen

from kregistry.deep_gemm.generated_source import find_reference
from kregistry.events.jit import JitEvent, JitOutcome
from kregistry.jit_monitor.caller import Caller, command_line, find_caller
from kregistry.registry import Registry
from kregistry.target import detect_target

_log = logging.getLogger("kregistry.jit_monitor")


@frozen
class StartedCompile:
    """What is known when a compile starts.

    Attributes:
        report: the first report: ``caller`` and ``child`` (process ids), ``time``, ``source`` and ``refuse``.
        process: command line of the process that DeepGEMM runs in.
        caller: the call that needs the kernel; empty for another process.
    """

    report: dict[str, Any]
    process: str
    caller: Caller

    @classmethod
    def read(cls, registry: Registry, report: dict[str, Any]) -> StartedCompile:
        """Read the caller from the stacks of this process, while it waits for the compiler."""
        pid, caller = report["caller"], Caller()
        if pid == os.getpid():
            try:
                caller = find_caller(registry, report["child"])
            except Exception:  # whatever a plugin's reader does, the compile is reported
                _log.exception("the calling site cannot be read")
        return cls(report, command_line(pid), caller)

    def ended(self, report: dict[str, Any]) -> JitEvent:
        """The event, once the second report (``code`` and ``seconds``) is there."""
        reference = find_reference(self.report["source"])
        refused = self.report["refuse"]
        return JitEvent(
            time=self.report["time"],
            pid=self.report["caller"],
            process=self.process,
            kernel=reference.kernel if reference else "",
            template=reference.arguments if reference else (),
            outcome=JitOutcome.REFUSED
            if refused
            else JitOutcome.COMPILED
            if report["code"] == 0
            else JitOutcome.FAILED,
            seconds=report["seconds"],
            **asdict(self.caller),
            target=_target(),
        )


def _target() -> dict[str, Any]:
    try:
        return asdict(detect_target())
    except Exception:  # a process without a device, e.g. the parent of the one that compiles
        return {}
