"""Broken kernels: what DeepGEMM chooses and the compiler refuses, kept so that it is not compiled again and again.

STORE/broken/KE/KEY.json    name, command, and the compiler's words

The key covers source, headers, flags and compiler version, so a verdict holds until one of them changes. Removing the
file, or all of STORE/broken, makes the next build try again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from kregistry.events.compiled import FailedKernel
from kregistry.kernel import Kernel
from kregistry.store import atomic

#: What only the source can be blamed for. A missing header, a full disk or a killed compiler says nothing of the kind.
_VERDICT = re.compile(r"\(\d+\): error|^ptxas .*error|the cubin holds \d+ kernels", re.MULTILINE)
_INTERRUPTED = re.compile(r"died due to signal|No space left on device")


class BrokenKernels:
    """The verdicts of a store; every method is safe against other processes on the same store."""

    def __init__(self, store_directory: Path) -> None:
        self.directory = store_directory / "broken"

    def path(self, key: str) -> Path:
        return self.directory / key[:2] / f"{key}.json"

    def get(self, kernel: Kernel) -> FailedKernel | None:
        """What is known of a kernel; ``None``: nothing, or nothing readable."""
        try:
            record = json.loads(self.path(kernel.key).read_text())
            return FailedKernel(kernel, str(record["command"]), str(record["output"]), known=True)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def among(self, kernels: Iterable[Kernel]) -> tuple[FailedKernel, ...]:
        """Those of some kernels that are known to be broken."""
        return tuple(failed for kernel in kernels if (failed := self.get(kernel)) is not None)

    def put(self, failed: FailedKernel) -> None:
        """Remember a kernel, if the verdict is a lasting one.

        Raises:
            StorageError: the store cannot be written.
        """
        if not is_lasting(failed):
            return
        path = self.path(failed.kernel.key)
        record = {"name": failed.kernel.name, "command": failed.command, "output": failed.output}
        with atomic.storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.replace_file(path, json.dumps(record, indent=1).encode())


def is_lasting(failed: FailedKernel) -> bool:
    """Whether the compiler has judged the source, so that it will say the same again."""
    return _VERDICT.search(failed.output) is not None and _INTERRUPTED.search(failed.output) is None
