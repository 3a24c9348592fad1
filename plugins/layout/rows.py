"""``get_mn_major_tma_aligned_tensor`` and ``get_mn_major_tma_aligned_packed_ue8m0_tensor``: transpose, and pack.

The count of scale factors in a row is part of a kernel, the count of rows is not. Input with a leading dimension of
groups uses the same kernels. Results are allocated by DeepGEMM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from kregistry import (
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls
from kregistry_plugins.fp8_gemm.scales import UNIT_SCALE, ceil_div
from kregistry_plugins.layout import scale_factors
from kregistry_plugins.layout.scale_factors import COLUMNS, EVERY_ARCH, EXACT, ROWS

if TYPE_CHECKING:
    import torch


class _Rows(KernelType):
    """Scale factors float32 [mn, columns], row-major."""

    dimensions = (COLUMNS,)
    run_dimension = ROWS
    signature = Signature("sf, psum_layout=None")
    archs = EVERY_ARCH
    proof = Proof(
        tolerance=EXACT, kernel_depends_on_m=False, examples=({"columns": 7}, {"columns": 1}, {"columns": 56})
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {"sf": BufferSpec((max_m, shape.columns), "float32", initial=UNIT_SCALE)}

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.sf[:m],))

    def read_m(self, sf: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return sf.shape[-2]

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        """Takes row-major calls only; others are copied by torch, or belong to ``..._from_mn_major``."""
        calls.belongs(self.name, "sf.dtype", calls.dtype_of(call.sf), ("float32",))
        calls.belongs(self.name, "sf", "row-major" if call.sf.is_contiguous() else "strided", ("row-major",))
        calls.belongs(self.name, "psum_layout", None if call.psum_layout is None else "a tensor", (None,))
        return {"columns": call.sf.shape[-1]}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        scale_factors.fill_powers_of_two(buffers.sf[:m], generator)


class GetMnMajorTmaAlignedTensor(_Rows):
    """SM90's layout: transposed float32. An MN-major input is returned as it is."""

    name = "get_mn_major_tma_aligned_tensor"
    summary = "transposes FP32 scale factors to the MN-major layout of SM90"
    function_names = ("get_mn_major_tma_aligned_tensor",)

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return scale_factors.result_bytes(max_m, shape.columns)

    def empty_result(self, call: Arguments) -> torch.Tensor:
        return call.sf.new_empty((*call.sf.shape[:-2], call.sf.shape[-1], 0)).mT

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.sf[:m].normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"transposed": buffers.sf[:m].T}

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"transposed": scale_factors.transposed(value, m, buffers.shape.columns)}


class GetMnMajorTmaAlignedPackedUe8m0Tensor(_Rows):
    """The layout of SM100 and SM120: exponents of powers of two, packed."""

    name = "get_mn_major_tma_aligned_packed_ue8m0_tensor"
    summary = "packs row-major FP32 scale factors to the UE8M0 layout of SM100 and SM120"
    function_names = ("get_mn_major_tma_aligned_packed_ue8m0_tensor",)

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return scale_factors.result_bytes(max_m, ceil_div(shape.columns, 4))

    def empty_result(self, call: Arguments) -> torch.Tensor:
        import torch

        size = (*call.sf.shape[:-2], ceil_div(call.sf.shape[-1], 4), 0)
        return call.sf.new_empty(size, dtype=torch.int32).mT

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"exponents": scale_factors.exponents_of(self.arguments(buffers, m).args[0])}

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"exponents": scale_factors.exponents(value, m, buffers.shape.columns)}


class GetMnMajorTmaAlignedPackedUe8m0TensorFromMnMajor(GetMnMajorTmaAlignedPackedUe8m0Tensor):
    """The same function for input that is MN-major already: another kernel, one for every number of columns.

    Torch does the work, and no kernel is compiled, for a number of rows that is no multiple of 4 and for groups.
    A single column is row-major and MN-major at once, and counts as row-major.
    """

    name = "get_mn_major_tma_aligned_packed_ue8m0_tensor_from_mn_major"
    summary = "packs MN-major FP32 scale factors to the UE8M0 layout of SM100 and SM120"
    dimensions = (Size("columns", "scale factors of a row; no effect on the kernel", "columns", minimum=2),)
    run_dimension = RunDimension(ROWS.name, ROWS.meaning, ROWS.unit, 4, 4)
    proof = evolve(_Rows.proof, examples=({"columns": 7}, {"columns": 2}, {"columns": 56}))

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {"sf": BufferSpec((max_m * shape.columns,), "float32", initial=UNIT_SCALE)}

    def arguments(self, buffers: Buffers, m: int) -> Call:
        columns = buffers.shape.columns
        return Call((buffers.sf[: m * columns].view(columns, m).T,))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        calls.belongs(self.name, "sf.dim()", call.sf.dim(), (2,))
        row_major = call.sf.is_contiguous() or not call.sf.mT.is_contiguous()
        calls.belongs(self.name, "sf", "not MN-major" if row_major else "MN-major", ("MN-major",))
        return {"columns": call.sf.shape[-1]}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        scale_factors.fill_powers_of_two(buffers.sf[: m * buffers.shape.columns], generator)
