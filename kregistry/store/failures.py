"""Broken kernels: kernels that DeepGEMM chooses and that do not compile. They are recorded, and not compiled again.

STORE/broken/KE/KEY.json    key, name, command, and the compiler's output, with a digest of these

The key covers source, headers, flags and compiler version, so a record holds until one of them changes. To compile
again, remove the file or all of STORE/broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from kregistry.bounded_input import read_bounded
from kregistry.events.compiled import FailedKernel
from kregistry.kernel import Kernel
from kregistry.store import atomic, signed_json

#: Errors that only the source can cause, unlike a missing header, a full disk or a killed compiler.
_VERDICT = re.compile(r"\(\d+\): error|^ptxas .*error|the cubin holds \d+ kernels", re.MULTILINE)
_INTERRUPTED = re.compile(
    r"died due to signal|No space left on device|Disk quota exceeded|Cannot allocate memory|out of memory"
    r"|virtual memory exhausted|Killed|Segmentation fault|Input/output error|ended with exit code -\d+",
    re.IGNORECASE,
)


class BrokenKernels:
    """The broken kernels of a store; every method is safe for concurrent processes on one store."""

    def __init__(self, store_directory: Path) -> None:
        self.directory = store_directory / "broken"

    def path(self, key: str) -> Path:
        return self.directory / key[:2] / f"{key}.json"

    def get(self, kernel: Kernel) -> FailedKernel | None:
        """The record of a kernel; ``None`` if there is none, or only that of another kernel or a changed one."""
        record = self._read(kernel.key)
        return FailedKernel(kernel, record["command"], record["output"], known=True) if record else None

    def holds(self, key: str) -> bool:
        """Whether there is a record of the kernel with this key, as it was written."""
        return self._read(key) is not None

    def known(self, kernels: Iterable[Kernel]) -> tuple[FailedKernel, ...]:
        """The records of those kernels that are known to be broken."""
        return tuple(failed for kernel in kernels if (failed := self.get(kernel)) is not None)

    def _read(self, key: str) -> dict[str, str] | None:
        try:
            record = signed_json.decode(read_bounded(self.path(key)))
        except (OSError, ValueError):
            return None
        complete = all(isinstance(record.get(name), str) for name in ("command", "output"))
        return record if complete and record.get("key") == key else None

    def put(self, failed: FailedKernel) -> None:
        """Record a kernel, if only its source can be the cause; see :func:`is_lasting`.

        Raises:
            StorageError: the store cannot be written.
        """
        if not is_lasting(failed):
            return
        path = self.path(failed.kernel.key)
        kernel = failed.kernel
        record = {"key": kernel.key, "name": kernel.name, "command": failed.command, "output": failed.output}
        with atomic.storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.replace_file(path, signed_json.encode(record))


def was_interrupted(failed: FailedKernel) -> bool:
    """Whether the compiler was killed, or had no memory or disk: it has rejected nothing."""
    return _INTERRUPTED.search(failed.output) is not None


def is_lasting(failed: FailedKernel) -> bool:
    """Whether the compiler has rejected the source, so that it would reject it again."""
    return _VERDICT.search(failed.output) is not None and _INTERRUPTED.search(failed.output) is None
