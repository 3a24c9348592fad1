"""Small kernels that the real compiler takes in half a second, or refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kregistry.kernel import CompilerCommand, Kernel

GOOD = 'extern "C" __global__ void good(int *p) {{ *p = {0}; }}\n'
BROKEN = 'extern "C" __global__ void broken(int *p) { *p = undeclared_name; }\n'
NO_KERNEL = "__device__ int x;\n"


def small_kernel(name: str, source: str = "", flags: tuple[str, ...] = ("-cubin", "-arch=sm_90a")) -> Kernel:
    """A kernel as a dry run would give it; by default one that compiles."""
    text = source or GOOD.format(int(hashlib.sha256(name.encode()).hexdigest()[:4], 16))
    key = hashlib.sha256(f"{name}{text}".encode()).hexdigest()
    entry = Path(f".deep_gemm/cache/kernel.{name}.{key[:8]}")
    return Kernel(name, key, text, CompilerCommand(flags, ()), entry, "kernel.cubin", {"kernel.cu": text.encode()})
