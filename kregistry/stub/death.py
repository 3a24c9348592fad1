"""How a process on the stub GPU died, in words."""

from __future__ import annotations

import signal
from pathlib import Path

from kregistry.errors import MissingRequirement
from kregistry.full_disk import raise_if_full
from kregistry.stub.library import HOST_ACCESS_EXIT_CODE

#: What a process prints, in its home.
LOG_FILE = "log"
_NEEDED_BYTES = 1 << 20


def describe_death(code: int, home: Path, silent: float | None = None) -> str:
    """How a process ended.

    Args:
        code: its exit code; a negative one is the number of a signal.
        silent: for how many seconds nothing was heard of it, if it was killed for that.
    """
    if silent is not None:
        return f"hangs: nothing was heard of the process for {silent:.0f} s, and it was killed"
    if code == HOST_ACCESS_EXIT_CODE:
        return "touches device memory on the host: the stub GPU ended the process"
    if code < 0:
        return f"crashes: the process died of {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}: {_log_tail(home, 1)}"


def not_loaded(code: int, home: Path, silent: float | None = None) -> MissingRequirement:
    """The error for a process that ended before it was ready for jobs; see :func:`describe_death`.

    Raises:
        StorageError: the disk is full.
    """
    raise_if_full(home, _NEEDED_BYTES, _log_tail(home, 5))
    death = describe_death(code, home, silent)
    return MissingRequirement(
        f"torch and DeepGEMM do not load on the stub GPU ({death}):\n{_log_tail(home, 30)}",
        "kregistry doctor names what is missing",
    )


def _log_tail(home: Path, lines: int) -> str:
    """The last lines that a process printed."""
    try:
        return "\n".join((home / LOG_FILE).read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
