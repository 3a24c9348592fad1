"""GEMMs whose summed dimension is split into groups: weight gradients of a mixture of experts."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry import KernelType, hookimpl


@hookimpl
def kregistry_kernel_types() -> Iterable[KernelType]:
    from kregistry_plugins.k_grouped.bf16 import KGroupedBf16GemmTnContiguous
    from kregistry_plugins.k_grouped.fp4_nt import KGroupedFp4GemmNtContiguous
    from kregistry_plugins.k_grouped.fp8_nt import KGroupedFp8GemmNtContiguous
    from kregistry_plugins.k_grouped.fp8_tn import KGroupedFp8GemmTnContiguous

    return [
        KGroupedBf16GemmTnContiguous(),
        KGroupedFp8GemmNtContiguous(),
        KGroupedFp8GemmTnContiguous(),
        KGroupedFp4GemmNtContiguous(),
    ]
