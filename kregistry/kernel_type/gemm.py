"""Gemm: what the ordinary GEMMs of DeepGEMM share, so that the author of one more copies nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kregistry.kernel_type.buffers import Buffers
from kregistry.kernel_type.contract import Call, KernelType
from kregistry.kernel_type.dimension import RunDimension
from kregistry.kernel_type.shape import Value
from kregistry.kernel_type.signature import Arguments, Signature

if TYPE_CHECKING:
    import torch


class Gemm(KernelType):
    """d[m, n] = a[m, k] @ b[n, k].T: the function takes ``a``, ``b``, ``d`` first, and writes m rows of ``d``.

    A subclass declares at least its names, the dimensions ``n`` and ``k``, the buffers ``a``, ``b`` and ``d``, and the
    reference. What differs from the plain case is overridden: other dimensions in :meth:`shape_of`, more arguments in
    :meth:`arguments`, quantised inputs in :meth:`fill`.
    """

    run_dimension = RunDimension("m", "tokens of one step", "rows")
    signature = Signature("a, b, d, *args, **kwargs")
    handles_empty = ""

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.a[:m], buffers.b, buffers.d[:m]))

    def read_m(self, a: Any, b: Any, d: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        rows: int = d.shape[0]
        return rows

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        n, k = call.b.shape
        return {"n": n, "k": k}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a[:m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)
