"""Compiles the stub GPU: a small C library, compiled once for each version of the CUDA headers."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from platformdirs import user_cache_path

from kregistry.errors import MissingRequirement, storage_errors
from kregistry.toolchain import Toolchain

#: A process on the stub GPU ends with this code when its host code touches device memory.
HOST_ACCESS_EXIT_CODE = 86
_SOURCE = resources.files(__package__) / "cuda_stub.c"


def default_stub_directory() -> Path:
    """Where the compiled stub GPU is kept: below the user's cache directory."""
    return user_cache_path("kregistry") / "stub"


def compile_stub(toolchain: Toolchain, directory: Path) -> Path:
    """The compiled library; it is taken from ``directory`` if it was compiled before.

    Raises:
        MissingRequirement: the C compiler reports an error.
        StorageError: the directory cannot be written, or the compiler cannot be started.
    """
    source = _SOURCE.read_text()
    key = hashlib.sha256(f"{source}\0{toolchain.cuda.version}\0{toolchain.cuda.home}".encode()).hexdigest()[:16]
    library = directory / f"libkregistry_stub.{key}.so"
    if library.exists():
        return library
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            built = Path(scratch) / "libcuda.so.1"
            command = [toolchain.c_compiler, "-shared", "-fPIC", "-O1", "-w", f"-I{toolchain.cuda.include}"]
            command += ["-Wl,-soname,libcuda.so.1", "-x", "c", "-", "-o", str(built)]
            result = subprocess.run(command, input=source, capture_output=True, text=True)
            if result.returncode:
                raise MissingRequirement(
                    f"{toolchain.c_compiler} does not compile the stub GPU:\n{result.stderr.strip()[-2000:]}",
                    f"the CUDA headers in {toolchain.cuda.include} may be incomplete",
                )
            built.replace(library)
    return library
