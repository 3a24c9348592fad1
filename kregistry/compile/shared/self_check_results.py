"""Results of self-checks, kept in the store by compiler, flags, headers and family.

STORE/front_ends/DIGEST.json    one family: the kernel that was compared, and what differed, if anything did
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from kregistry.bounded_input import parse_json, read_bounded
from kregistry.compile.shared.kernel_family import KernelFamily
from kregistry.kernel import Kernel
from kregistry.store import atomic
from kregistry.toolchain import nvcc_version


class SelfCheckResults:
    """What differed, by family; ``""`` if nothing did. A lost result only costs another check."""

    def __init__(self, directory: Path, nvcc: Path) -> None:
        self._directory = directory
        self._nvcc = nvcc

    def recall(self, family: KernelFamily) -> str | None:
        """The result of an earlier check; ``None`` if there was none.

        Raises:
            MissingRequirement: nvcc does not report its version.
        """
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = parse_json(read_bounded(self._path(family)))["difference"]
            return found if isinstance(found, str) else None
        return None

    def remember(self, family: KernelFamily, kernel: Kernel, difference: str) -> None:
        """Keep the result of a check of one kernel of a family."""
        content = {"family": str(family), "kernel": kernel.id, "difference": difference}
        with contextlib.suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True)
            atomic.replace_file(self._path(family), json.dumps(content, indent=1).encode())

    def _path(self, family: KernelFamily) -> Path:
        return self._directory / f"{family.digest(nvcc_version(self._nvcc), self._nvcc.parent.parent)}.json"
