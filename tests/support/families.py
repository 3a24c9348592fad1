"""Families of small kernels in the form that DeepGEMM generates, with a header of their own."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.kernel_family import member_of
from kregistry.kernel import CompilerCommand, Kernel

#: A header with what the real ones have: file-local objects, dynamic shared memory, a kernel that is a template.
HEADER = """\
#pragma once
namespace objects { namespace { __device__ constexpr struct Object {} object; } }
namespace gemms {
template <int kN> __global__ void gemm(int* p) {
    static_assert(kN < 1000, "too large");
    extern __shared__ int memory[];
    memory[threadIdx.x] = kN;
    __syncthreads();
    p[threadIdx.x] = memory[kN % 32] * kN;
}
}
"""
FLAGS = ("-cubin", "-arch=sm_90a", "-O3", "-std=c++17")


def source_of(reference: str, header: str = "gemm.cuh") -> str:
    """A source as DeepGEMM generates it."""
    return (
        f"#include <{header}>\n\nusing namespace gemms;\n\n"
        f"static void __instantiate_kernel() {{\n    auto ptr = reinterpret_cast<void*>({reference});\n}};\n"
    )


def family_kernel(
    include: Path, n: int, *, name: str = "gemm", header: str = HEADER, flags: tuple[str, ...] = FLAGS
) -> Kernel:
    """A kernel of the family of a header, which is written to ``include``."""
    (include / "gemm.cuh").write_text(header)
    source = source_of(f"&gemm<\n        {n}\n    >")
    key = hashlib.sha256(f"{name}{source}{header}{flags}".encode()).hexdigest()
    entry = Path(f".deep_gemm/cache/kernel.{name}.{key[:8]}")
    return Kernel(name, key, source, CompilerCommand(flags, (include,)), entry, "kernel.cubin", {"kernel.cu": b""})


def family_job(
    include: Path, n: int, *, name: str = "gemm", header: str = HEADER, flags: tuple[str, ...] = FLAGS
) -> FamilyJob:
    """A job for such a kernel."""
    kernel = family_kernel(include, n, name=name, header=header, flags=flags)
    return FamilyJob(kernel, member_of(kernel))
