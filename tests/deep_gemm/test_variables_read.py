"""Every variable that the installed DeepGEMM reads is in the table, with a handling for its series."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from read_variables import KEPT, variables_read

from kregistry.deep_gemm.variables import BY_NAME, DEEP_GEMM, Handling, Series
from kregistry.deep_gemm.version import deep_gemm_version, series_of
from kregistry.toolchain import Toolchain
from tests.plugins.stack import NAMES_ONLY, VERSIONS

READ: dict[str, list[str]] = json.loads(KEPT.read_text())
#: Names of DeepGEMM's launcher and tests, which no server reads; the last one is set for a daemon of its own (0.2.5).
NOT_OF_THE_LIBRARY = (
    "MASTER_ADDR",
    "MASTER_PORT",
    "WORLD_SIZE",
    "RANK",
    "CXX",
    "TVM_FFI_CUDA_ARCH_LIST",
    "CUDA_MPS_PIPE_DIRECTORY",
)


@pytest.mark.parametrize("version", READ)
def test_what_a_version_reads_has_an_outcome(version: str) -> None:
    series = series_of(version)
    lacking = [name for name in READ[version] if name not in BY_NAME]
    assert lacking == [], "add these to kregistry/deep_gemm/variables.py, with a handling"
    unread = [name for name in READ[version] if BY_NAME[name].handling(series) is Handling.UNREAD]
    assert unread == [], "the table says that this series does not read them"


@pytest.mark.parametrize("series", Series)
def test_what_the_table_says_is_read_is_read(series: Series) -> None:
    """By some version of the series, or by its Python part, or where a GPU is not one of those traced."""
    elsewhere = ("DG_JIT_USE_RUNTIME_API", "DG_USE_NVIDIA_TOOLS", "DG_USE_MXF4_KIND", "DG_USE_FP4_ACTS")
    elsewhere = (*elsewhere, "DG_SM90_TRACE_EPI")  # read if DG_SM90_TRACE_PTR is set
    traced = {name for version, names in READ.items() if series_of(version) is series for name in names}
    told = {variable.name for variable in DEEP_GEMM if variable.handling(series) is not Handling.UNREAD}
    assert told - traced - set(elsewhere) <= {"DJ_JIT_NVCC_COMPILER"}  # read if DG_JIT_NVCC_COMPILER is not set


def test_every_stack_was_traced() -> None:
    assert set(READ) == {*VERSIONS.values(), NAMES_ONLY}


@pytest.mark.stub
def test_the_version_that_is_installed_was_traced() -> None:
    assert deep_gemm_version() in READ, "run tests/support/read_variables.py, and give new names a handling"


@pytest.mark.stub
@pytest.mark.slow
def test_the_installed_version_reads_what_was_traced(tmp_path: Path) -> None:
    assert variables_read(tmp_path) == READ[str(deep_gemm_version())]


@pytest.mark.stub
def test_names_in_the_binary_and_in_the_python_part_are_known() -> None:
    """A compiler cuts short names into constants of 8 bytes: each piece is the start of a known name, or begins so."""
    spec = importlib.util.find_spec("deep_gemm")
    assert spec is not None and spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    unknown: set[str] = set()
    for library in package.glob("*.so"):
        pieces = {match.decode() for match in re.findall(rb"(?<![A-Z0-9_])D[GJ]_[A-Z0-9_]{5,}", library.read_bytes())}
        unknown |= {piece for piece in pieces if not any(_fits(piece, name) for name in BY_NAME)}
    assert unknown == set()
    reads = re.compile(r"""environ(?:\.get\(|\.pop\(|\.setdefault\(|\[)\s*['"](\w+)|getenv\(\s*['"](\w+)""")
    texts = [path.read_text() for path in package.rglob("*.py") if "testing" not in path.parts]
    names = {name for text in texts for match in reads.findall(text) for name in match if name}
    assert names - set(BY_NAME) - set(NOT_OF_THE_LIBRARY) == set()


def _fits(piece: str, name: str) -> bool:
    return name.startswith(piece) or piece.startswith(name) or (len(piece) >= 8 and name.startswith(piece[:8]))


#: What programs of nvcc read for messages, temporary files, their own start, or as names of variables in nvcc.profile.
NO_CODE = (
    *("AS_SECURE_LOG_FILE", "MALLOC_CONF", "NOCOLOR", "PWD", "TERM", "bar"),
    *("TEMP", "TEMPDIR", "TMP", "TMPDIR", "LD_LIBRARY_PATH", "MAKEFLAGS"),
    *("TOP", "_HERE_", "_SPACE_", "_TARGET_DIR_", "_TARGET_SIZE_"),
)


@pytest.mark.nvcc
def test_every_variable_that_the_compiler_reads_is_known(toolchain: Toolchain, tmp_path: Path) -> None:
    """nvcc, cicc, ptxas and cudafe++; the host compiler's are in the table too, but differ with its version."""
    library, names, source = tmp_path / "trace.so", tmp_path / "names", tmp_path / "k.cu"
    trace = Path(__file__).parents[1] / "support" / "getenv_trace.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(trace), "-ldl"], check=True)
    source.write_text("__global__ void k(float *a) { a[0] = 1; }\n")
    tools = {
        "LD_PRELOAD": str(library),
        "GETENV_TRACE": str(names),
        "GETENV_TRACE_OF": str(toolchain.cuda.nvcc.parents[1]),
    }
    command = [str(toolchain.cuda.nvcc), "-cubin", "-arch=sm_90a", "-o", str(tmp_path / "k.cubin"), str(source)]
    subprocess.run(command, env={**os.environ, **tools}, check=True)
    found = set(names.read_text().split())
    assert {"NVCC_APPEND_FLAGS", "PTXAS_FLAGS", "NV_NVVM_VERSION", "DUMP_KNOBS_TO_FILE"} <= found
    assert found - set(BY_NAME) - set(NO_CODE) == set(), "add these to kregistry/deep_gemm/variables.py"
