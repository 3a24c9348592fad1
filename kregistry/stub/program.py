"""Any program on the stub GPU, as the target's devices: its environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kregistry.deep_gemm.environment import CACHE_DIRECTORIES
from kregistry.errors import storage_errors
from kregistry.scratch import scratch_directory
from kregistry.stub.environment import stub_environment
from kregistry.stub.library import compile_stub, default_stub_directory
from kregistry.target import Target
from kregistry.toolchain import find_toolchain

#: What the engines set DeepGEMM's cache directory from.
_ENGINE_CACHES = ("SGLANG_DG_CACHE_DIR",)


@contextmanager
def program_environment(
    target: Target,
    devices: int = 1,
    base: Mapping[str, str] = os.environ,
    *,
    uncounted_bytes: int = 0,
    overflow_bytes: int = 0,
) -> Iterator[dict[str, str]]:
    """The environment of a program that sees ``devices`` GPUs like ``target``, with the memory that they have.

    The first ``uncounted_bytes`` that it allocates on a device are not counted. ``overflow_bytes`` more are not counted
    once the memory is not enough.

    What stands in for kernels goes to a JIT cache that is removed afterwards; the caches of the user are not touched.

    Raises:
        MissingRequirement: torch, DeepGEMM or a compiler is missing.
        StorageError: the compiled stub cannot be written.
    """
    toolchain = find_toolchain()
    library = compile_stub(toolchain, default_stub_directory())
    with scratch_directory("stub") as scratch:
        environment = stub_environment(target, toolchain, library, scratch, base)
        environment.update(
            {name: str(scratch / "jit-cache") for name in (*CACHE_DIRECTORIES, *_ENGINE_CACHES)},
            TRITON_LIBCUDA_PATH=str(_folder_of_libcuda(scratch, library)),
            KREGISTRY_STUB_COUNT_MEMORY="1",
            KREGISTRY_STUB_DEVICES=str(devices),
            KREGISTRY_STUB_OVERFLOW=str(overflow_bytes),
            KREGISTRY_STUB_UNCOUNTED=str(uncounted_bytes),
        )
        for name in ("HOME", "PYTHONUSERBASE"):  # a program has the user's
            environment.pop(name)
            if name in base:
                environment[name] = base[name]
        if base.get("CUDA_VISIBLE_DEVICES"):
            environment["CUDA_VISIBLE_DEVICES"] = base["CUDA_VISIBLE_DEVICES"]
        yield environment


def _folder_of_libcuda(scratch: Path, library: Path) -> Path:
    """A folder with the stub as ``libcuda.so.1``: Triton asks ldconfig for the driver, which does not know the stub."""
    folder = scratch / "libcuda"
    with storage_errors(folder):
        folder.mkdir()
        (folder / "libcuda.so.1").symlink_to(library.absolute())
    return folder
