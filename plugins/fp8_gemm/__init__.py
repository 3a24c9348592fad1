"""FP8 GEMMs: dense, grouped with contiguous rows, grouped with masked rows."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry import KernelType, hookimpl


@hookimpl
def kregistry_kernel_types() -> Iterable[KernelType]:
    from kregistry_plugins.fp8_gemm.contiguous import (
        MGroupedFp4GemmNtContiguous,
        MGroupedFp8Fp4GemmNnContiguous,
        MGroupedFp8Fp4GemmNtContiguous,
        MGroupedFp8GemmNnContiguous,
        MGroupedFp8GemmNtContiguous,
        MGroupedMxFp8GemmNtContiguous,
    )
    from kregistry_plugins.fp8_gemm.dense import Fp8GemmNt
    from kregistry_plugins.fp8_gemm.fine_grained import (
        Fp4GemmNt,
        Fp8Fp4GemmNt,
        Fp8GemmNtBlock32,
        Fp8GemmNtWgrad,
        MxFp8GemmNt,
    )
    from kregistry_plugins.fp8_gemm.masked import (
        MGroupedFp4GemmNtMasked,
        MGroupedFp8Fp4GemmNtMasked,
        MGroupedFp8GemmNtMasked,
        MGroupedMxFp8GemmNtMasked,
    )
    from kregistry_plugins.fp8_gemm.skip_head_mid import Fp8GemmNtSkipHeadMid
    from kregistry_plugins.fp8_gemm.transposed import Fp8GemmNn, Fp8GemmTn, Fp8GemmTt

    return [
        Fp8GemmNt(),
        Fp8GemmNn(),
        Fp8GemmTn(),
        Fp8GemmTt(),
        Fp8GemmNtSkipHeadMid(),
        Fp8GemmNtWgrad(),
        Fp8GemmNtBlock32(),
        MxFp8GemmNt(),
        Fp8Fp4GemmNt(),
        Fp4GemmNt(),
        MGroupedFp8GemmNtContiguous(),
        MGroupedFp8GemmNnContiguous(),
        MGroupedMxFp8GemmNtContiguous(),
        MGroupedFp8Fp4GemmNtContiguous(),
        MGroupedFp8Fp4GemmNnContiguous(),
        MGroupedFp4GemmNtContiguous(),
        MGroupedFp8GemmNtMasked(),
        MGroupedMxFp8GemmNtMasked(),
        MGroupedFp8Fp4GemmNtMasked(),
        MGroupedFp4GemmNtMasked(),
    ]
