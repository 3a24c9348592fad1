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
from kregistry_plugins.einsum.bf16 import EinsumBhrHdrBhd
from kregistry_plugins.fp8_gemm.dense import Fp8GemmNt
from kregistry_plugins.k_grouped.bf16 import KGroupedBf16GemmTnContiguous
from kregistry_plugins.mqa_logits.contiguous import Fp8MqaLogits
from kregistry_plugins.mqa_logits.metadata import GetPagedMqaLogitsMetadata
from kregistry_plugins.mqa_logits.paged_schedule import schedule

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


@breaks("KR115", r"read_shape\(\*arguments\(buffers, m=17\)\): got n=24, expected n=17")
class TellsSizesApartByM(PlainGemm):
    """It takes an output with as many rows as columns for one of another kind."""

    def shape_of(self, call: Any) -> Mapping[str, Any]:
        shape = super().shape_of(call)
        return {**shape, "n": 24} if call.d.shape == (17, 17) else shape


@breaks("KR135", "'b' after fill.*: got the columns 0 and 1 are the same, expected random numbers")
class EachRowOneNumber(PlainGemm):
    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.b.copy_(buffers.b[:, :1].clone().expand_as(buffers.b))


@breaks("KR140", r"reference\(buffers, m=17\)\['d'\]: got a difference of .* from the same in FP64, expected at most")
class ReferenceInBf16(Bf16Gemm):
    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m] @ buffers.b.T}


@breaks("KR211", r"read_shape of a call with recipe=\[1, 128, 128\]: got an unknown call, expected n=576")
class TakesTuplesOnly(Fp8GemmNt):
    archs = (ArchSupport("sm90"),)
    proof = evolve(Fp8GemmNt.proof, examples=({"n": 576, "k": 512},))

    def shape_of(self, call: Any) -> Mapping[str, Any]:
        if isinstance(call.recipe, list):
            raise ShapeError("not a tuple", "")
        return super().shape_of(call)


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


@breaks("KR227", r"read_shape\(\) of a call of \w+: got AssertionError: another one, expected a S")
class AssertsThatACallIsItsOwn(EinsumBhrHdrBhd):
    archs = (ArchSupport("sm90"),)
    proof = evolve(EinsumBhrHdrBhd.proof, examples=EinsumBhrHdrBhd.proof.examples[:1])

    def shape_of(self, call: Any) -> Mapping[str, Any]:
        assert call.expr.startswith("bhr,"), "another one"
        return super().shape_of(call)


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


@breaks(
    "KR230",
    "a call with seq_len_kv=0: got the launch failed on the stub GPU, as on a GPU: .*, expected no error",
)
class LaunchesWithoutKeys(Fp8MqaLogits):
    archs = (ArchSupport("sm90"),)
    proof = evolve(Fp8MqaLogits.proof, examples=({"num_heads": 32, "head_dim": 32, "seq_len_kv": 65},))

    def read_m(self, q: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return q.shape[0]


@breaks("KR231", r"returned\(value, buffers, 1\), where .* int32\[33, 2\],: got .*, expected \(133, 2\)")
class ScheduleForAllSms(GetPagedMqaLogitsMetadata):
    archs = (ArchSupport("sm90"),)
    proof = evolve(GetPagedMqaLogitsMetadata.proof, examples=({"next_n": 2, "num_sms": 32},))

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        shape = buffers.shape
        return {"schedule": schedule(shape, shape.target.num_sms, buffers.context_lens[:m], None)}


@breaks("KR311", "the result 'd' of a launch with 'a' whose every second number is zero: got NaN in .* numbers")
class SkipsZeros(PlainGemm):
    """Rows that begin with zero are padding, and are not written."""

    def function(self) -> Callable[..., Any]:
        return self.compute

    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        kept = (a[:, 0] != 0) | (a == 0).all(1)
        d[kept] = (a[kept] @ b.T).to(d.dtype)


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


def _product(a: Any, b: Any) -> Any:
    return a @ b.T


@breaks("KR323", r"reference\(buffers, m=17\): got a call of _product\(\) \(.*\), which the launch calls too, expected")
class SharesItsProduct(_Fp32Output):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> None:
        d.copy_(_product(a, b))

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": _product(buffers.a[:m].double(), buffers.b.double())}
