"""Batched GEMMs written as einsum."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry import KernelType, hookimpl


@hookimpl
def kregistry_kernel_types() -> Iterable[KernelType]:
    from kregistry_plugins.einsum.bf16 import EinsumBhdHdrBhr, EinsumBhrHdrBhd
    from kregistry_plugins.einsum.bmk import EinsumBmkBnkMn, EinsumBmkBnkMnAccumulate
    from kregistry_plugins.einsum.fp8 import Fp8EinsumBhdHdrBhr, Fp8EinsumBhrHdrBhd
    from kregistry_plugins.einsum.fp8_gradient import Fp8EinsumBhdBhrHdr
    from kregistry_plugins.einsum.fp8_output import Fp8EinsumBhrHdrBhdFp8Output

    return [
        EinsumBhrHdrBhd(),
        EinsumBhdHdrBhr(),
        EinsumBmkBnkMn(),
        EinsumBmkBnkMnAccumulate(),
        Fp8EinsumBhrHdrBhd(),
        Fp8EinsumBhdHdrBhr(),
        Fp8EinsumBhdBhrHdr(),
        Fp8EinsumBhrHdrBhdFp8Output(),
    ]
