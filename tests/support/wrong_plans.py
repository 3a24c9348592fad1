"""Wrong kernel types that are right for their examples, or on one machine: each breaks just one rule."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve
from good_kernel_types import Bf16Gemm, PlainGemm
from wrong_kernel_types import breaks

from kregistry import ArchSupport, Arguments, Buffers, Call, Choice, Proof, Shape, Signature, Size, Value
from kregistry.errors import ShapeError
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import Fp8GemmNt
from kregistry_plugins.mqa_logits.contiguous import Fp8MqaLogits

if TYPE_CHECKING:
    import torch

_FP8_EXAMPLES = ({"n": 576, "k": 512}, {"n": 200, "k": 144})


@breaks("KR106", "the defaults of DefaultOfAnotherArch.dimensions on h100: got each example is refused: .*ue8m0")
class DefaultOfAnotherArch(Fp8GemmNt):
    """Every example says what the default is not."""

    dimensions = (*Fp8GemmNt.dimensions[:2], evolve(scales.SCALES, default="ue8m0"), *Fp8GemmNt.dimensions[3:])
    proof = Proof(examples=tuple({**example, "scales": "f32"} for example in _FP8_EXAMPLES))


@breaks("KR107", r"check\(\) with n=98304: got ValueError: 98304 columns, expected a ShapeError")
class ChecksWithAnotherError(PlainGemm):
    def check(self, shape: Shape) -> None:
        if shape.n > 65536:
            raise ValueError(f"{shape.n} columns")


@breaks("KR133", r"reference\(buffers for 32, m=1\)\['d'\]: got results that depend on what the buffers held before")
class ReferenceOfOneColumn(Fp8GemmNt):
    """The reference takes rows of packed scale factors as if they were not laid out anew for m."""

    archs = (ArchSupport("sm100"),)
    proof = Proof(examples=_FP8_EXAMPLES)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        a = scales.dequantize(buffers.a[:m], buffers.sfa[:m])
        return {"d": a @ scales.dequantize(buffers.b, buffers.sfb).T}


@breaks(
    "KR141", r"read_shape\(\) of a call with 'a' as columns of a wider tensor: got n=24 k=56 .*, expected n=24 k=40"
)
class ReadsAStride(PlainGemm):
    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.b.shape[0], "k": call.a.stride(0), "num_splits": call.num_splits}


@breaks("KR141", r"read_m\(\) of a call with 'd' as columns of a wider tensor: got \d+, expected 17")
class ReadsMOfTheStorage(PlainGemm):
    def read_m(self, a: Any, b: torch.Tensor, d: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return d.shape[0] * d.stride(0) // b.shape[0]


@breaks("KR142", r"resolve\(\): got reads the environment variable MY_SPLITS, expected an answer made of shape")
class ReadsTheEnvironment(PlainGemm):
    def check(self, shape: Shape) -> None:
        if shape.num_splits > 1 and os.environ.get("MY_SPLITS") == "off":
            raise ShapeError(self.name, "num_splits", "switched off")


def _by_gpu(shape: Shape, m: int) -> int:
    import torch

    return 2 if m < 64 * max(torch.cuda.device_count(), 1) else 1


@breaks("KR142", r"the policy 'by_gpu' of parts: got reads torch.cuda.device_count\(\), expected")
class PolicyOfThisMachine(PlainGemm):
    dimensions = (*PlainGemm.dimensions[:2], Size("parts", "parts of k", default=1, policies={"by_gpu": _by_gpu}))
    proof = evolve(PlainGemm.proof, examples=({"n": 24, "k": 40, "parts": "by_gpu"}, {"n": 7, "k": 16}))

    def arguments(self, buffers: Buffers, m: int) -> Call:
        parts = buffers.shape.at(self.dimensions[2], m)
        return Call((buffers.a[:m], buffers.b, buffers.d[:m]), {"num_splits": parts})

    def shape_of(self, call: Any) -> Mapping[str, Any]:
        return {"n": call.b.shape[0], "k": call.b.shape[1], "parts": call.num_splits}


@breaks(
    "KR143",
    r"the default of the setting num_sms: got 132, expected 148, as .* \(b200\)",
)
class SmsOfOneGpu(Bf16Gemm):
    archs = (ArchSupport("sm100"),)
    settings = tuple(
        evolve(each, default=lambda target: 132) if each.name == "num_sms" else each for each in Bf16Gemm.settings
    )


@breaks("KR222", r"workspace_requirement\(shape, max_m=1\): got 0 bytes, expected at least the \d+ allocated")
class WorkspaceOfOneForm(Fp8GemmNt):
    """f32 scale factors, which no example has there, are converted."""

    archs = (ArchSupport("sm100"),)
    proof = Proof(examples=_FP8_EXAMPLES)

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return 0


@breaks("KR231", "got 'logits' with what lies between the rows of that tensor, expected its elements only")
class IgnoresStrides(Fp8MqaLogits):
    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        columns = value.shape[1]
        return super().returned(value.as_strided((m, columns), (columns, 1)), buffers, m)


def _activated(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, activation: str = "none") -> None:
    product = a @ b.T
    d.copy_(product if activation == "none" else product.relu())


@breaks("KR311", r"the result 'd' of a launch with 'a' multiplied by 2\^-16: got a difference of .* from the reference")
class NearlyTheSame(PlainGemm):
    """SiLU, which no example has, is computed as ReLU: of large numbers they are alike."""

    dimensions = (*PlainGemm.dimensions[:2], Choice("activation", "what follows", ("none", "silu"), default="none"))
    signature = Signature("a, b, d, activation='none'")
    proof = evolve(PlainGemm.proof, examples=({"n": 24, "k": 640}, {"n": 56, "k": 320}))

    def function(self) -> Callable[..., Any]:
        return _activated

    def arguments(self, buffers: Buffers, m: int) -> Call:
        activation = buffers.shape.activation
        return Call((buffers.a[:m], buffers.b, buffers.d[:m]), {"activation": activation})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.b.shape[0], "k": call.b.shape[1], "activation": call.activation}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        product = buffers.a[:m] @ buffers.b.T
        return {"d": product if buffers.shape.activation == "none" else product * product.sigmoid()}


RIGHT = (PlainGemm, Bf16Gemm)
MUTANTS = (
    DefaultOfAnotherArch,
    ChecksWithAnotherError,
    ReferenceOfOneColumn,
    ReadsAStride,
    ReadsMOfTheStorage,
    ReadsTheEnvironment,
    PolicyOfThisMachine,
    SmsOfOneGpu,
    WorkspaceOfOneForm,
    IgnoresStrides,
    NearlyTheSame,
)
