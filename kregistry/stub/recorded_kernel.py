"""The kernels that processes on the stub GPU load; ``nvcc_recorder.sh``, beside this file, writes their "cubins"."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from kregistry.deep_gemm.compiler import Compiler
from kregistry.deep_gemm.cubin_inputs import cubin_key
from kregistry.full_disk import raise_if_full
from kregistry.kernel import CompilerCommand, Kernel

_NEEDED_BYTES = 1 << 16


class RecordedKernels:
    """Every kernel that any process of a pool has loaded, by its id; safe against threads.

    Args:
        compiler: the one that DeepGEMM would compile with.
        on_kernel: called once for each kernel, from the thread that meets it first.
    """

    def __init__(self, compiler: Compiler, on_kernel: Callable[[Kernel], None]) -> None:
        self._compiler = compiler
        self._on_kernel = on_kernel
        self._lock = threading.Lock()
        self.kernels: dict[str, Kernel] = {}

    def add(self, home: Path, cubin: Path) -> str:
        """The id of the kernel that a process with this home has loaded from ``cubin``."""
        raise_if_full(home, _NEEDED_BYTES, probe=False)  # DeepGEMM may not notice that its files are cut
        kernel = read_recorded(home, cubin, self._compiler)
        with self._lock:
            known = self.kernels.setdefault(kernel.id, kernel)
        if known is kernel:
            self._on_kernel(kernel)
        return kernel.id


def read_recorded(home: Path, cubin: Path, compiler: Compiler) -> Kernel:
    """The kernel that a process with this home has recorded at ``cubin`` (see nvcc_recorder.sh for the format)."""
    arguments, _, source = cubin.read_bytes().partition(b"\0\0")
    given = CompilerCommand.parse(argument.decode() for argument in arguments.split(b"\0"))
    command = compiler.flags.apply(given)
    name = cubin.parent.name.removeprefix("kernel.").rsplit(".", 1)[0]
    files = {path.name: path.read_bytes() for path in sorted(cubin.parent.iterdir()) if path.name != cubin.name}
    key = cubin_key(source, command, compiler)
    entry = cubin.parent.relative_to(home)
    return Kernel(name, key, source.decode(), command, entry, cubin.name, files)
