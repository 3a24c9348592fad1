"""The environment variables of a process that runs on the stub GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path

from kregistry.deep_gemm.environment import DG_JIT_NVCC_COMPILER, DG_USE_TEMP_CUBLASLT_WORKSPACE, for_dry_run
from kregistry.errors import storage_errors
from kregistry.scratch import is_literal, refuse_unless_literal
from kregistry.target import Target
from kregistry.toolchain import Toolchain

#: Besides the variables of DeepGEMM that change no kernel: the device list and the recording of the parent, and how a
#: program on the stub sees its devices.
_NOT_INHERITED = (
    "CUDA_VISIBLE_DEVICES",
    "KREGISTRY_RECORD",
    "KREGISTRY_STUB_COUNT_MEMORY",
    "KREGISTRY_STUB_DEVICES",
    "KREGISTRY_STUB_OVERFLOW",
    "KREGISTRY_STUB_UNCOUNTED",
)
_RECORDER = resources.files(__package__) / "nvcc_recorder.sh"


def stub_environment(
    target: Target, toolchain: Toolchain, library: Path, home: Path, base: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The environment of a process that sees ``target`` as its GPU, and has its JIT cache under ``home``.

    ``DG_JIT_CACHE_DIR`` is left out, so that DeepGEMM uses its own default below ``home``. The place of a kernel there
    is the place where DeepGEMM will look for it below the user's home. torch's cuBLAS handle needs a real device, the
    stub's cuBLASLt handle does not, so that the two variables of cuBLASLt are not inherited either.
    """
    refuse_unless_literal(home, "the directory of the dry run")
    environment = for_dry_run(base)
    for variable in _NOT_INHERITED:
        environment.pop(variable, None)
    preload = environment.get("LD_PRELOAD")
    preloaded = _literal(library, home)
    user_base = environment.get("PYTHONUSERBASE") or os.path.expanduser("~/.local")  # noqa: PTH111
    environment[DG_JIT_NVCC_COMPILER] = str(_literal(Path(str(_RECORDER)), home))
    environment[DG_USE_TEMP_CUBLASLT_WORKSPACE] = "1"
    environment.update(
        HOME=str(home),
        PYTHONUSERBASE=user_base,
        LD_PRELOAD=f"{preloaded}:{preload}" if preload else str(preloaded),
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


def _literal(file: Path, home: Path) -> Path:
    """The path of a file that ``LD_PRELOAD`` and ``sh -c`` take literally: its own, or that of a link below ``home``.

    The files of the same kind beside it are linked too: the stub looks for the one that answers as NVML there.
    """
    if is_literal(file):
        return file
    directory = home / ".kregistry"
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        for each in file.parent.glob(f"*{file.suffix}"):
            with suppress(FileExistsError):
                (directory / each.name).symlink_to(each.absolute())
    return directory / file.name
