"""The stub GPU: a small C library, compiled once for the CUDA headers at hand, preloaded into child processes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from kregistry.deep_gemm.environment import (
    CACHE_DIRECTORIES,
    DG_JIT_NVCC_COMPILER,
    DG_USE_PYTORCH_CUBLASLT_HANDLE,
    DG_USE_TEMP_CUBLASLT_WORKSPACE,
)
from kregistry.errors import MissingRequirement, StorageError
from kregistry.target import Target
from kregistry.toolchain import Toolchain

#: The dry run's process ends with this code when host code touches device memory.
HOST_ACCESS_EXIT_CODE = 86
#: torch's cuBLAS handle needs a real device, the stub's cuBLASLt one does not; the others would point elsewhere.
_NOT_INHERITED = (
    *CACHE_DIRECTORIES,
    "CUDA_VISIBLE_DEVICES",
    "KREGISTRY_RECORD",
    DG_USE_PYTORCH_CUBLASLT_HANDLE,
)
_SOURCE = resources.files(__package__) / "cuda_stub.c"
_RECORDER = resources.files(__package__) / "nvcc_recorder.sh"


def compile_stub(toolchain: Toolchain, directory: Path) -> Path:
    """The stub library, from ``directory`` if it was compiled before.

    Raises:
        MissingRequirement: the C compiler refuses it.
        StorageError: the directory cannot be written.
    """
    source = _SOURCE.read_text()
    key = hashlib.sha256(f"{source}\0{toolchain.cuda.version}\0{toolchain.cuda.home}".encode()).hexdigest()[:16]
    library = directory / f"libkregistry_stub.{key}.so"
    if library.exists():
        return library
    try:
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
    except OSError as error:
        raise StorageError.from_oserror(error, directory) from error
    return library


def stub_environment(
    target: Target, toolchain: Toolchain, library: Path, home: Path, base: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The environment of a process that runs on the stub as ``target``, with its JIT cache under ``home``.

    ``DG_JIT_CACHE_DIR`` is left out, so that DeepGEMM uses its own default below ``home``: where it puts a kernel
    there is where it will look for it below the user's home.
    """
    environment = dict(base)
    for variable in _NOT_INHERITED:
        environment.pop(variable, None)
    preload = environment.get("LD_PRELOAD")
    user_base = environment.get("PYTHONUSERBASE") or str(Path("~/.local").expanduser())
    environment[DG_JIT_NVCC_COMPILER] = str(_RECORDER)
    environment[DG_USE_TEMP_CUBLASLT_WORKSPACE] = "1"
    environment.update(
        HOME=str(home),
        PYTHONUSERBASE=user_base,
        LD_PRELOAD=f"{library}:{preload}" if preload else str(library),
        CUDA_HOME=str(toolchain.cuda.home),
        KREGISTRY_NVCC=str(toolchain.cuda.nvcc),
        KREGISTRY_STUB_NAME=target.device_name,
        KREGISTRY_STUB_MAJOR=str(target.major),
        KREGISTRY_STUB_MINOR=str(target.minor),
        KREGISTRY_STUB_SMS=str(target.num_sms),
        KREGISTRY_STUB_L2=str(target.l2_bytes),
        KREGISTRY_STUB_MEMORY=str(target.memory_bytes),
    )
    return environment
