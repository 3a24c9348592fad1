"""Layout of scale factors: the kernels that transpose and pack them, called on their own."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry import KernelType, hookimpl


@hookimpl
def kregistry_kernel_types() -> Iterable[KernelType]:
    from kregistry_plugins.layout.k_grouped import GetKGroupedMnMajorTmaAlignedPackedUe8m0Tensor
    from kregistry_plugins.layout.required import TransformSfIntoRequiredLayout
    from kregistry_plugins.layout.rows import (
        GetMnMajorTmaAlignedPackedUe8m0Tensor,
        GetMnMajorTmaAlignedPackedUe8m0TensorFromMnMajor,
        GetMnMajorTmaAlignedTensor,
    )

    return [
        GetMnMajorTmaAlignedTensor(),
        GetMnMajorTmaAlignedPackedUe8m0Tensor(),
        GetMnMajorTmaAlignedPackedUe8m0TensorFromMnMajor(),
        GetKGroupedMnMajorTmaAlignedPackedUe8m0Tensor(),
        TransformSfIntoRequiredLayout(),
    ]
