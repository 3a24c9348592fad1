"""Compile the kernels that DeepGEMM 0.1.4 chooses on SM90 and that do not compile, with nvcc only and no GPU.

python tools/broken_kernels.py          needs the files of deep_gemm (installed) and nvcc (CUDA_HOME, or on PATH)

The sources are those that DeepGEMM writes as kernel.cu, with its flags. Exit 0 if none of them compiles.
See docs/upstream-broken-kernels.md, which is written for DeepGEMM's issue tracker.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

FLAGS = [
    "-cubin",
    "-std=c++20",
    "-O3",
    "--gpu-architecture=sm_90a",
    "--expt-relaxed-constexpr",
    "--expt-extended-lambda",
    "--diag-suppress=39,161,174,177,186,940",
    "--ptxas-options=--register-usage-level=10",
    "--compiler-options=-fPIC,-O3,-fconcepts,-Wno-deprecated-declarations,-Wno-abi",
]

#: The call -> header, kernel, template arguments; 132 SMs.
KERNELS = {
    "fp8_gemm_nt, recipe (1, 1, 128), FP32 output, m 1..16": (
        "sm90_fp8_gemm_1d1d",
        "sm90_fp8_gemm_1d1d_impl",
        "0, 0, 0, 1, 16, 16, 128, 128, 128, 16, 128, 128, 1, false, 132, GemmType::Normal, float",
    ),
    "fp8_gemm_nt, recipe (1, 1, 128), FP32 output, m 17..32": (
        "sm90_fp8_gemm_1d1d",
        "sm90_fp8_gemm_1d1d_impl",
        "0, 0, 0, 1, 32, 16, 128, 128, 128, 16, 128, 128, 1, false, 132, GemmType::Normal, float",
    ),
    "m_grouped_fp8_gemm_nt_contiguous, mk alignment 224, 32 groups, n=4096 k=7168, m 448": (
        "sm90_fp8_gemm_1d2d",
        "sm90_fp8_gemm_1d2d_impl",
        "cute::UMMA::Major::K, 0, 4096, 7168, 32, 224, 64, 128, 128, 128, 128, 5, 128, 256, 1, false, 132, "
        "GemmType::MGroupedContiguous, cutlass::bfloat16_t, epilogue::transform::EpilogueIdentity",
    ),
    "m_grouped_bf16_gemm_nt_contiguous, mk alignment 224, 32 groups, n=4096 k=7168, m 448": (
        "sm90_bf16_gemm",
        "sm90_bf16_gemm_impl",
        "cute::UMMA::Major::K, cute::UMMA::Major::K, 0, 4096, 7168, 32, 224, 64, 64, 128, 128, 128, 5, 128, 256, "
        "1, false, 132, GemmType::MGroupedContiguous, false, cutlass::bfloat16_t",
    ),
}
SOURCE = """\
#include <deep_gemm/impls/{header}.cuh>
using namespace deep_gemm;
static void __instantiate_kernel() {{
    auto ptr = reinterpret_cast<void*>(&{kernel}<{arguments}>);
}};
"""


def find_nvcc() -> str:
    home = os.environ.get("CUDA_HOME")
    found = str(Path(home) / "bin" / "nvcc") if home else shutil.which("nvcc")
    return found or sys.exit("no nvcc: set CUDA_HOME")


def errors_of(nvcc: str, include: Path, source: str) -> list[str]:
    """The errors of nvcc for a source; empty if it compiles."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "kernel.cu"
        path.write_text(source)
        command = [nvcc, str(path), *FLAGS, f"-I{include}", "-o", str(path.with_suffix(".cubin"))]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not done.returncode:
        return []
    lines = [line.strip() for line in done.stdout.splitlines() if "error" in line]
    return [line.replace(f"{include}/", "").replace(f"{directory}/", "") for line in lines] or [done.stdout]


def main() -> int:
    spec = find_spec("deep_gemm")
    if spec is None or spec.origin is None:
        sys.exit("deep_gemm is not installed")
    include = Path(spec.origin).parent / "include"
    compiled = 0
    for call, (header, kernel, arguments) in KERNELS.items():
        errors = errors_of(find_nvcc(), include, SOURCE.format(header=header, kernel=kernel, arguments=arguments))
        compiled += not errors
        print(f"{call}\n  {kernel}<{arguments}>")
        print("\n".join(f"    {line}" for line in errors or ["compiles"]))
    return compiled


if __name__ == "__main__":
    sys.exit(main())
