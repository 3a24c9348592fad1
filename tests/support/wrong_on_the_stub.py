"""Kernel types of DeepGEMM's own ``bf16_gemm_nt`` that are wrong around it: what the stub GPU finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from good_kernel_types import Bf16Gemm

from kregistry import DETERMINISTIC, Buffers, BufferSpec, Call, Shape, Signature

if TYPE_CHECKING:
    import torch


class SettingForgotten(Bf16Gemm):
    """The number of SMs is not declared, though kernels depend on it."""

    settings = (DETERMINISTIC,)


class WaitsForAnEvent(Bf16Gemm):
    """launch() measures itself with events."""

    def launch(self, a: torch.Tensor, b: Any, d: Any, *args: Any, **kwargs: Any) -> Any:
        import torch

        value = super().launch(a, b, d, *args, **kwargs)
        if a.is_cuda:
            event = torch.cuda.Event()
            event.record()
            event.synchronize()
        return value


class OnTheDefaultStream(Bf16Gemm):
    """launch() goes to the default stream."""

    def launch(self, a: torch.Tensor, b: Any, d: Any, *args: Any, **kwargs: Any) -> Any:
        import torch

        if not a.is_cuda:
            return super().launch(a, b, d, *args, **kwargs)
        with torch.cuda.stream(torch.cuda.default_stream()):
            return super().launch(a, b, d, *args, **kwargs)


class OnAStreamOfItsOwn(Bf16Gemm):
    """launch() goes to a new stream, and does not wait for it."""

    def launch(self, a: torch.Tensor, b: Any, d: Any, *args: Any, **kwargs: Any) -> Any:
        import torch

        if not a.is_cuda:
            return super().launch(a, b, d, *args, **kwargs)
        with torch.cuda.stream(torch.cuda.Stream()):
            return super().launch(a, b, d, *args, **kwargs)


class ChecksForNaN(Bf16Gemm):
    """launch() asserts that no input is NaN."""

    def launch(self, a: torch.Tensor, b: Any, d: Any, *args: Any, **kwargs: Any) -> Any:
        if a.is_cuda:
            assert not a.isnan().any() or len(a) >= 0
        return super().launch(a, b, d, *args, **kwargs)


class PadsInWarmup(Bf16Gemm):
    """execute() on a GPU launches at the next multiple of 128, as far as the buffers go."""

    def execute(self, buffers: Buffers, m: int) -> Any:
        rows = min(-(-m // 128) * 128, buffers.max_m) if buffers.a.is_cuda else m
        return super().execute(buffers, rows)


class CopiesToAlign(Bf16Gemm):
    """launch() copies inputs on a GPU, in memory that it does not declare."""

    def launch(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return super().launch(a.clone() if a.is_cuda else a, *args, **kwargs)


class PadsEachLaunch(Bf16Gemm):
    """launch() on a GPU computes 64 rows more often than it should: two launches, of which the first is for nothing."""

    def launch(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if a.is_cuda and len(a) > 1:
            super().launch(a[:1], b, d[:1])
        return super().launch(a, b, d, *args, **kwargs)


class NothingAboveAHundred(Bf16Gemm):
    """launch() on a GPU does nothing for more than 100 rows."""

    def launch(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return None if a.is_cuda and len(a) > 100 else super().launch(a, *args, **kwargs)


class TorchInstead(Bf16Gemm):
    """launch() on a GPU uses torch for few rows."""

    def launch(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if a.is_cuda and 0 < len(a) < 16:
            return d.add_(1)
        return super().launch(a, b, d, *args, **kwargs)


class OtherParameters(Bf16Gemm):
    """The signature has two parameters in the wrong order."""

    signature = Signature("a, d, b, *args, **kwargs")

    def shape_of(self, call: Any) -> Any:
        n, k = call.d.shape
        return {"n": n, "k": k}


class CompiledDimsIgnored(Bf16Gemm):
    """It says that compiled_dims changes no kernel."""

    without_effect = {"compiled_dims": ()}  # noqa: RUF012 - as an author would write it


class KeepsThePlace(Bf16Gemm):
    """It says that it refuses rows above 4,096, which DeepGEMM takes."""

    def largest_m(self, shape: Shape) -> int | None:
        return 4096


class TransposedWeight(Bf16Gemm):
    """arguments() passes b as if it lay column by column."""

    def arguments(self, buffers: Buffers, m: int) -> Call:
        n, k = buffers.b.shape
        return Call((buffers.a[:m], buffers.b.as_strided((n, k), (1, n)), buffers.d[:m]))


class RowsTooFar(Bf16Gemm):
    """arguments() passes every second row of a buffer that is twice as long; it is not contiguous."""

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        declared = dict(super().buffers(shape, max_m))
        return {**declared, "a": BufferSpec((max_m, shape.k), "bfloat16", strides=(shape.k + 1, 1))}


MUTANTS = (
    SettingForgotten,
    WaitsForAnEvent,
    OnTheDefaultStream,
    OnAStreamOfItsOwn,
    ChecksForNaN,
    PadsInWarmup,
    CopiesToAlign,
    PadsEachLaunch,
    NothingAboveAHundred,
    TorchInstead,
    OtherParameters,
    CompiledDimsIgnored,
    KeepsThePlace,
    TransposedWeight,
    RowsTooFar,
)
#: Name -> why no kit can tell.
SURVIVORS: dict[str, str] = {}
