"""FP8 GEMMs: dense, grouped with contiguous rows, grouped with masked rows."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry import KernelType, hookimpl


@hookimpl
def kregistry_kernel_types() -> Iterable[KernelType]:
    from kregistry_plugins.fp8_gemm.contiguous import MGroupedFp8GemmNtContiguous
    from kregistry_plugins.fp8_gemm.dense import Fp8GemmNt
    from kregistry_plugins.fp8_gemm.masked import MGroupedFp8GemmNtMasked

    return [Fp8GemmNt(), MGroupedFp8GemmNtContiguous(), MGroupedFp8GemmNtMasked()]
