"""Wrong kernel types whose launches are right: what they declare about memory, roles, values or refusals is not."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve
from good_kernel_types import Bf16Gemm, PlainGemm, plain_gemm
from independent.right import MaskedGemm
from wrong_kernel_types import breaks

from kregistry import ArchSupport, Buffers, BufferSpec, Call, RunDimension, Shape, Signature, Size
from kregistry.errors import ShapeError
from kregistry_plugins.bf16_gemm.contiguous import MGroupedBf16GemmNtContiguous
from kregistry_plugins.k_grouped.bf16 import KGroupedBf16GemmTnContiguous
from kregistry_plugins.mqa_logits.contiguous import Fp8MqaLogits

if TYPE_CHECKING:
    import torch


@breaks("KR109", r"collective\(shape\): got 'an all-reduce follows', expected None: the call has tensors and numbers")
class SaysThatItWaitsForOthers(Bf16Gemm):
    def collective(self, shape: Shape) -> str | None:
        return "an all-reduce follows"


@breaks("KR136", r"linear_arguments\(shape\) with parts=tuned: got True, expected False: .* 1 at m=1 and 2 at m=1030")
class LinearButForAWindow(PlainGemm):
    dimensions = (
        *PlainGemm.dimensions[:2],
        Size("parts", "parts of k", default=1, policies={"tuned": lambda shape, m: 2 if 1030 <= m < 1050 else 1}),
    )
    proof = evolve(PlainGemm.proof, examples=({"n": 24, "k": 40, "parts": "tuned"}, {"n": 7, "k": 16}))

    def linear_arguments(self, shape: Shape) -> bool:
        return True

    def arguments(self, buffers: Buffers, m: int) -> Call:
        parts = buffers.shape.at(self.dimensions[2], m)
        return Call((buffers.a[:m], buffers.b, buffers.d[:m]), {"num_splits": parts})

    def shape_of(self, call: Any) -> Mapping[str, Any]:
        return {"n": call.b.shape[0], "k": call.b.shape[1], "parts": call.num_splits}


@breaks("KR138", r"workspace_requirement\(shape, max_m=\d+\): got .*, expected .*")
class WorkspaceIn32Bits(PlainGemm):
    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return ctypes.c_int32(4 * max_m * int(shape.k)).value


@breaks("KR139", r"the role of buffers\(\)\['b'\]: got input, expected weight: its sizes do not vary with m")
class WeightIsAnInput(PlainGemm):
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        specs = super().buffers(shape, max_m)
        return {**specs, "b": evolve(specs["b"], role="input")}


@breaks("KR139", r"the role of buffers\(\)\['a'\]: got weight, expected input: it has the sizes \(193, 40\) at m=193")
class InputIsAWeight(PlainGemm):
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        specs = super().buffers(shape, max_m)
        return {**specs, "a": evolve(specs["a"], role="weight")}


@breaks("KR211", "a call with counts=a tensor of int32, one for each row of a, which is read as n=256 .*: got")
class CountsWithoutEffect(Bf16Gemm):
    """The function has another kernel for calls with counts."""

    signature = Signature("a, b, d, counts=None")
    without_effect = {"counts": ()}  # noqa: RUF012 - as an author would write it

    def function(self) -> Callable[..., Any]:
        own = super().function()

        def gemm(a: Any, b: Any, d: Any, counts: Any = None) -> Any:
            if counts is not None and (str(getattr(counts, "dtype", "")), counts.dim()) != ("torch.int32", 1):
                raise RuntimeError("Assertion error: counts")
            return own(a, b, d, compiled_dims="" if counts is None else "nk")

        return gemm


@breaks(
    "KR225", r"execute\(buffers, m\): got calls torch.cuda.set_device\(\) 1 times, expected the device of its caller"
)
class SetsTheDevice(Bf16Gemm):
    def launch(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if a.is_cuda:
            import torch

            torch.cuda.set_device(0)
        return super().launch(a, *args, **kwargs)


@breaks("KR226", r"TwoTilesAtATime.run_dimension.step: got 256, expected 128, the default of mk_alignment")
class TwoTilesAtATime(MGroupedBf16GemmNtContiguous):
    archs = (ArchSupport("sm90"),)
    proof = evolve(MGroupedBf16GemmNtContiguous.proof, examples=({"num_groups": 3, "n": 72, "k": 192},))
    run_dimension = RunDimension("m", "rows of all groups together", "rows", 256, 256)


@breaks("KR228", r"check\(\) of k=24: got '.*must be a multiple of 16', expected a shape: DeepGEMM launches it")
class RefusesWhatDeepGemmTakes(Bf16Gemm):
    def check(self, shape: Shape) -> None:
        if shape.k % 16:
            raise ShapeError("must be a multiple of 16", "k")


@breaks("KR228", r"refusal\(shape, 4096\): got 'it crashed once', expected None: DeepGEMM launches it")
class RefusesMoreThan512Rows(Bf16Gemm):
    def refusal(self, shape: Shape, m: int) -> str | None:
        return "it crashed once" if m > 512 else None


@breaks("KR229", r"a call with ks=\[256, 128, 0, 0, \.\.\.\], of which read_m\(\) makes 256: got .*, as planned at 256")
class LargestGroupEverywhere(KGroupedBf16GemmTnContiguous):
    archs = (ArchSupport("sm100"),)
    proof = evolve(KGroupedBf16GemmTnContiguous.proof, examples=({"num_groups": 4, "m": 128, "n": 256},))

    def read_m(self, a: torch.Tensor, b: Any, d: Any, ks: Any, *args: Any, **kwargs: Any) -> int:
        return max(ks) if ks else a.shape[0]


@breaks("KR230", "a call with seq_len_kv=0: got RuntimeError: .*, expected no error: read_m")
class LaunchesWithoutKeys(Fp8MqaLogits):
    archs = (ArchSupport("sm90"),)
    proof = evolve(Fp8MqaLogits.proof, examples=({"num_heads": 32, "head_dim": 32, "seq_len_kv": 65},))

    def read_m(self, q: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return q.shape[0]


@breaks(
    "KR311", r"a launch with 'masked_m' of zeros: got writes \d+ elements of 'd' past m, expected writes to writable"
)
class ZeroIsTheWholeBuffer(MaskedGemm):
    """A count of zero is taken for one that was not given."""

    @staticmethod
    def own(*args: Any, **kwargs: Any) -> Any:
        from independent.functions import masked_gemm

        masked_gemm(*args, **kwargs)
        _, _, d, masked_m = args
        if not masked_m.any():
            groups, _, columns = d.shape
            d.as_strided((groups, d.stride(0) // columns, columns), d.stride()).zero_()


class _Fp32Output(PlainGemm):
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        specs = super().buffers(shape, max_m)
        return {**specs, "d": evolve(specs["d"], dtype="float32")}

    def function(self) -> Callable[..., Any]:
        return self.compute

    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        plain_gemm(a, b, d)


@breaks("KR322", "the result 'd': got FP32 numbers that are all bfloat16 numbers, expected FP32 precision")
class RoundsToBf16(_Fp32Output):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        super().compute(a, b, d)
        d.copy_(d.bfloat16())
