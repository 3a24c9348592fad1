"""How a process on the stub GPU died, in words."""

from __future__ import annotations

import signal
from pathlib import Path

from kregistry.errors import MissingRequirement
from kregistry.stub.library import HOST_ACCESS_EXIT_CODE

#: What a process prints, in its home.
LOG_FILE = "log"


def describe_death(code: int, home: Path) -> str:
    """How a process ended, by its exit code; a negative code is the number of a signal."""
    if code == HOST_ACCESS_EXIT_CODE:
        return "touches device memory on the host: the stub GPU ended the process"
    if code < 0:
        return f"crashes: the process died of {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}: {_log_tail(home, 1)}"


def not_loaded(code: int, home: Path) -> MissingRequirement:
    """The error for a process that ended with this exit code before it was ready for jobs."""
    return MissingRequirement(
        f"torch and DeepGEMM do not load on the stub GPU ({describe_death(code, home)}):\n{_log_tail(home, 30)}",
        "kregistry doctor names what is missing",
    )


def _log_tail(home: Path, lines: int) -> str:
    """The last lines that a process printed."""
    return "\n".join((home / LOG_FILE).read_text(errors="replace").splitlines()[-lines:])
