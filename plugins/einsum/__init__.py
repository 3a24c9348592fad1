"""Batched GEMMs written as einsum."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry import KernelType, hookimpl


@hookimpl
def kregistry_kernel_types() -> Iterable[KernelType]:
    from kregistry_plugins.einsum.fp8 import Fp8EinsumBhrHdrBhd

    return [Fp8EinsumBhrHdrBhd()]
