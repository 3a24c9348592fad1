"""Gemm: base class of the ordinary GEMMs of DeepGEMM, with everything that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kregistry.errors import ShapeError
from kregistry.kernel_type.author_contract import Call
from kregistry.kernel_type.buffers import Buffers
from kregistry.kernel_type.contract import KernelType
from kregistry.kernel_type.dimension import RunDimension
from kregistry.kernel_type.shape import Value
from kregistry.kernel_type.signature import Arguments, Signature

if TYPE_CHECKING:
    import torch


class Gemm(KernelType):
    """d[m, n] = a[m, k] @ b[n, k].T. The function takes ``a``, ``b``, ``d`` first, and writes m rows of ``d``.

    A subclass declares at least its names, the dimensions ``n`` and ``k``, the buffers ``a``, ``b`` and ``d``, and the
    reference. It overrides :meth:`shape_of` for other dimensions, :meth:`arguments` for more arguments, and
    :meth:`fill` for quantised inputs.

    Attributes:
        output_dtype: the dtype of ``d`` in the calls that it plans, since DeepGEMM has other kernels for other ones;
            empty: a dimension reads it.
    """

    output_dtype: ClassVar[str] = "bfloat16"

    run_dimension = RunDimension("m", "tokens of one step", "rows")
    signature = Signature("a, b, d, *args, **kwargs")
    handles_empty = ""

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.a[:m], buffers.b, buffers.d[:m]))

    def read_m(self, a: Any, b: Any, d: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        rows: int = d.shape[0]
        return rows

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        found = str(call.d.dtype).removeprefix("torch.")
        if self.output_dtype and found != self.output_dtype:
            text = f"a call with d in {found}, expected {self.output_dtype}"
            raise ShapeError(self.name, "", text, "output_dtype says which calls a kernel type plans")
        n, k = call.b.shape
        return {"n": n, "k": k}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a[:m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)
