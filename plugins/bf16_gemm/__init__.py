"""BF16 GEMMs: dense in four layouts, grouped with contiguous rows, grouped with masked rows."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry import KernelType, hookimpl


@hookimpl
def kregistry_kernel_types() -> Iterable[KernelType]:
    from kregistry_plugins.bf16_gemm.contiguous import MGroupedBf16GemmNnContiguous, MGroupedBf16GemmNtContiguous
    from kregistry_plugins.bf16_gemm.dense import Bf16GemmNn, Bf16GemmNt, Bf16GemmTn, Bf16GemmTt
    from kregistry_plugins.bf16_gemm.masked import MGroupedBf16GemmNtMasked

    return [
        Bf16GemmNt(),
        Bf16GemmNn(),
        Bf16GemmTn(),
        Bf16GemmTt(),
        MGroupedBf16GemmNtContiguous(),
        MGroupedBf16GemmNnContiguous(),
        MGroupedBf16GemmNtMasked(),
    ]
