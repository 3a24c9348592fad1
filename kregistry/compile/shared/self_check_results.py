"""Results of self-checks, kept in the store by compiler, flags, headers and family.

STORE/front_ends/DIGEST.json    one family: the kernel that was compared, and what differed, if anything did
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from kregistry.bounded_input import read_bounded
from kregistry.compile.shared.kernel_family import KernelFamily
from kregistry.deep_gemm.compiler import Compiler
from kregistry.kernel import Kernel
from kregistry.store import atomic, signed_json


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
            path = self._path(family)
            record = signed_json.decode(read_bounded(path))
            if record["key"] == path.stem and isinstance(record["difference"], str):
                return record["difference"]
        return None

    def remember(self, family: KernelFamily, kernel: Kernel, difference: str) -> None:
        """Keep the result of a check of one kernel of a family."""
        path = self._path(family)
        content = {"key": path.stem, "family": str(family), "kernel": kernel.id, "difference": difference}
        with contextlib.suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True)
            atomic.replace_file(path, signed_json.encode(content))

    def _path(self, family: KernelFamily) -> Path:
        compiler = Compiler.at(self._nvcc, "", self._nvcc.parent.parent)
        return self._directory / f"{family.digest(compiler)}.json"
