"""Hyper-connection pre-norm GEMM of DeepSeek-V4."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry import KernelType, hookimpl


@hookimpl
def kregistry_kernel_types() -> Iterable[KernelType]:
    from kregistry_plugins.hc_prenorm.kernel_type import Tf32HcPrenormGemm

    return [Tf32HcPrenormGemm()]
