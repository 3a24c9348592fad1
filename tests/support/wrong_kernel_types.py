"""Deliberately wrong kernel types: each breaks just one rule of the conformance kit."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, frozen
from good_kernel_types import Bf16Gemm, K, N, PlainGemm, plain_gemm

from kregistry import (
    DETERMINISTIC,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    Signature,
    Value,
)
from kregistry.errors import ShapeError
from kregistry.target import Target
from kregistry_plugins.fp8_gemm.dense import Fp8GemmNt
from kregistry_plugins.fp8_gemm.masked import MGroupedFp8GemmNtMasked

if TYPE_CHECKING:
    import torch


@frozen
class Wrong:
    """A wrong kernel type: which rule it breaks, and what its message says."""

    kernel_type: type[KernelType]
    rule: str
    message: str


WRONG: list[Wrong] = []
_T = TypeVar("_T", bound=type[KernelType])


def breaks(rule: str, message: str) -> Callable[[_T], _T]:
    def note(cls: _T) -> _T:
        WRONG.append(Wrong(cls, rule, message))
        return cls

    return note


# ---- declarations ----------------------------------------------------------------------------------------------


@breaks("KR101", "NoSummary.summary: got nothing, expected a description in one line")
class NoSummary(PlainGemm):
    summary = ""


@breaks("KR102", "PicklingError|AttributeError|TypeError")
class HoldsALambda(PlainGemm):
    def __init__(self) -> None:
        self.cast = lambda tensor: tensor


@breaks("KR104", "changed calls")
class CountsItsCalls(PlainGemm):
    def __init__(self) -> None:
        self.calls = 0

    def read_m(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        self.calls += 1
        return a.shape[0]


@breaks("KR106", "NoExamples.proof.examples: got none")
class NoExamples(PlainGemm):
    proof = evolve(PlainGemm.proof, examples=())


@breaks("KR107", "'no_such_dimension': 1.*got the shape .*, expected a ShapeError about 'no_such_dimension'")
class TakesAnyDimension(PlainGemm):
    def resolve(self, values: Mapping[str, object], target: Target) -> Shape:
        known = {each.name for each in self.all_dimensions}
        return super().resolve({name: value for name, value in values.items() if name in known}, target)


@breaks("KR108", r"unsupported_reason\(b200, .*got None, expected a reason")
class ClaimsEverythingInSilence(PlainGemm):
    def unsupported_reason(self, target: Target, deep_gemm_version: str) -> str | None:
        return None


@breaks("KR108", "the reason of sm100: got nothing")
class NoReason(PlainGemm):
    archs = (ArchSupport("sm90"), ArchSupport("sm100", ">=99"))


# ---- buffers ---------------------------------------------------------------------------------------------------


@breaks("KR110", "got 'bf16', expected a dtype of")
class NoSuchDtype(PlainGemm):
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        specs = super().buffers(shape, max_m)
        return {**specs, "d": evolve(specs["d"], dtype="bf16")}


@breaks("KR110", "got buffers of the roles .*, expected at least one output, or returned\\(\\)")
class NoOutput(PlainGemm):
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        specs = super().buffers(shape, max_m)
        return {**specs, "d": evolve(specs["d"], role="input")}


@breaks("KR111", "got another tensor, expected t itself")
class IgnoresLentTensors(PlainGemm):
    def allocate_buffers(
        self,
        shape: Shape,
        max_m: int,
        device: str | torch.device = "cuda",
        lent: Mapping[str, torch.Tensor] = {},
    ) -> Buffers:
        return super().allocate_buffers(shape, max_m, device)


@breaks("KR103", r"memory_requirement\(shape, max_m=1\): got \d+ bytes, expected the \d+ bytes that the buffers hold")
class RequirementTooSmall(PlainGemm):
    def memory_requirement(self, shape: Shape, max_m: int) -> int:
        return super().memory_requirement(shape, max_m) - max_m * int(shape.n)


@breaks("KR103", r"got \d+ bytes, expected the \d+ bytes that the buffers hold")
class RequirementTooLarge(PlainGemm):
    def memory_requirement(self, shape: Shape, max_m: int) -> int:
        return super().memory_requirement(shape, max_m) + 512


@breaks("KR112", r"arguments\(buffers for 193, m=\d+\): got RuntimeError")
class OnlyTheLargestLaunch(PlainGemm):
    def arguments(self, buffers: Buffers, m: int) -> Call:
        d = buffers.d[:m].view(buffers.max_m, -1) if m else buffers.d[:0]
        return Call((buffers.a[:m], buffers.b, d), {"num_splits": buffers.shape.num_splits})


# ---- calls -----------------------------------------------------------------------------------------------------


@breaks("KR113", "got a tensor that lies in no buffer, expected views of the buffers")
class CopiesAnInput(PlainGemm):
    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        return Call((call.args[0].clone(), *call.args[1:]), call.kwargs)


@breaks("KR114", r"read_m\(\*arguments\(buffers, m=17\)\): got 32, expected 17")
class ReadsAPaddedM(PlainGemm):
    def read_m(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        rows = a.shape[0]
        return rows if rows < 17 else math.ceil(rows / 16) * 16


@breaks("KR115", "got n=40, expected n=24")
class SwapsNAndK(PlainGemm):
    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.b.shape[1], "k": call.b.shape[0], "num_splits": call.num_splits}


@breaks("KR115", "got num_splits=1, expected num_splits=2")
class IgnoresNumSplits(PlainGemm):
    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call(super().arguments(buffers, m).args)


@breaks("KR116", r"launch\(\*arguments\(buffers, 0\)\) with empty_input = RETURN: got 1 launches, expected none")
class LaunchesTheEmptyInput(PlainGemm):
    def launch(self, *args: Any, **kwargs: Any) -> Any:
        return self.function()(*args, **kwargs)


@breaks("KR117", r"execute\(buffers, m=1\): got function\(.*num_splits=9\)")
class WarmsUpAnotherCall(PlainGemm):
    def execute(self, buffers: Buffers, m: int) -> Any:
        return self.launch(*self.arguments(buffers, m).args, num_splits=9)


# ---- inputs, reference, tolerance ------------------------------------------------------------------------------


@breaks("KR120", "results that depend on what the buffers held before")
class UninitialisedPackedScales(Fp8GemmNt):
    archs = (ArchSupport("sm100"),)
    proof = Proof(examples=({"n": 72, "k": 144},))

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        before = buffers.sfa.clone()
        super().fill(buffers, m, generator)
        buffers.sfa.copy_(before)


@breaks("KR120", "after fill\\(\\) with two seeds: got equal results")
class SameInputsForEverySeed(PlainGemm):
    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a[:m].fill_(1)
        buffers.b.fill_(2)


@breaks("KR121", r"got \(0, 24\), expected the \(1, 24\) of the reference")
class OutputTooSmall(PlainGemm):
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {**super().buffers(shape, max_m), "d": BufferSpec((max_m - 1, shape.n), "bfloat16", "output")}


@breaks("KR122", r"reference\(buffers, m=1\): got writes to a, expected no write")
class ReferenceSpoilsItsInput(PlainGemm):
    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m].mul_(1.5) @ buffers.b.T}


@breaks("KR122", r"got NaN or infinity, expected finite values")
class ReferenceWithNan(PlainGemm):
    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": (buffers.a[:m] @ buffers.b.T).log()}


@breaks("KR123", "tolerance 1.5 for 'd': got accepts zeros, a difference of 1")
class AcceptsZeros(PlainGemm):
    proof = evolve(PlainGemm.proof, tolerance=1.5)


@breaks("KR123", "got refuses the reference rounded to torch.bfloat16")
class RefusesRounding(PlainGemm):
    proof = evolve(PlainGemm.proof, tolerance=1e-12)


# ---- shapes in general -----------------------------------------------------------------------------------------


@breaks("KR130", r"memory_requirement\(shape, max_m=193\): got \d+ bytes, expected the \d+ bytes")
class RequirementRightForTheExamplesOnly(PlainGemm):
    def memory_requirement(self, shape: Shape, max_m: int) -> int:
        return super().memory_requirement(shape, max_m) + (64 if shape.n % 8 == 3 else 0)


@breaks("KR101", "declares the run-time dimension 'label', a key of every kernel in a manifest: rename it")
class RunDimensionThatAManifestCannotName(PlainGemm):
    run_dimension = RunDimension("label", "rows", "rows")


class Parts(enum.IntEnum):
    TWO = 2


@breaks("KR131", "got RepresenterError: .*cannot represent an object")
class ValueThatAManifestCannotHold(PlainGemm):
    proof = evolve(PlainGemm.proof, examples=({"n": 24, "k": 40}, {"n": 7, "k": 16, "num_splits": Parts.TWO}))


# ---- the stub GPU ----------------------------------------------------------------------------------------------


@breaks("KR201", "execute.*: got RuntimeError: .*, expected a launch")
class RowMajorPackedScales(Fp8GemmNt):
    archs = (ArchSupport("sm100"),)
    proof = Proof(examples=({"n": 256, "k": 1024},))

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        specs = super().buffers(shape, max_m)
        if shape.scales == "f32":
            return specs
        return {**specs, "sfa": BufferSpec((max_m, -(-shape.k // 512)), "int32")}

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call(((buffers.a[:m], buffers.sfa[:m]), (buffers.b, buffers.sfb), buffers.d[:m]))

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        from kregistry_plugins.fp8_gemm.scales import dequantize

        a, b = dequantize(buffers.a[:m], buffers.sfa[:m]), dequantize(buffers.b, buffers.sfb)
        return {"d": a @ b.T}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        from kregistry_plugins.fp8_gemm.dense import fill_rows, fill_weight

        fill_rows(buffers.a[:m], buffers.sfa[:m], generator, buffers.shape)
        fill_weight(buffers.b, buffers.sfb, generator, buffers.shape)


@breaks("KR201", "got RuntimeError: .*, expected a launch")
class SliceOfEveryGroup(MGroupedFp8GemmNtMasked):
    archs = (ArchSupport("sm90"),)
    proof = Proof(examples=({"num_groups": 3, "n": 72, "k": 144},))

    def arguments(self, buffers: Buffers, m: int) -> Call:
        (a, sfa), weights, *rest = super().arguments(buffers, m).args
        return Call(((a[:, : max(m, 1)], sfa), weights, *rest))

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        before = buffers.a.clone()
        super().fill(buffers, m, generator)
        buffers.a[:, m:] = before[:, m:]


@breaks("KR201", r"Unsupported architecture.*rtx-pro-6000")
class ClaimsAnArchThatAsserts(Bf16Gemm):
    archs = (ArchSupport("sm90"), ArchSupport("sm120"))


@breaks("KR202", "copies from the device to the host, expected none")
class ReadsBack(Bf16Gemm):
    def launch(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if a.is_cuda and a.shape[0]:
            a[0, 0].item()
        return super().launch(a, *args, **kwargs)


@breaks("KR202", "reads_device_memory: got True, but no launch reads any")
class SaysThatItReads(Bf16Gemm):
    reads_device_memory = True


@breaks("KR203", r"n=1: got .*, expected a launch, since n may be an integer >= 1")
class WrongAlignment(Bf16Gemm):
    dimensions = (evolve(N), evolve(K, multiple_of=8))


@breaks("KR204", "a launch of an empty input with empty_input = RETURN: got 1 kernels, expected none")
class LaunchesAPaddedEmptyInput(Bf16Gemm):
    def empty_result(self, call: Arguments) -> Any:
        if call.a.is_cuda:
            padded = call.a.new_empty(16, call.a.shape[1])
            self.function()(padded, call.b, padded.new_empty(16, call.b.shape[0]))


@breaks("KR204", "a sealed call of an empty input with .*: got RuntimeError: Assertion error.*, expected no error")
class SaysThatDeepGemmHandlesIt(MGroupedFp8GemmNtMasked):
    archs = (ArchSupport("sm90"),)
    proof = SliceOfEveryGroup.proof
    handles_empty = ""
    raises_on_empty = "none"


@breaks("KR205", r"execute\(buffers, m\): got sm90_bf16_gemm\S*, expected sm90_bf16_gemm\S*, as launch")
class WarmsUpAnotherKernel(Bf16Gemm):
    def execute(self, buffers: Buffers, m: int) -> Any:
        baked = {"compiled_dims": "nk"} if buffers.a.is_cuda else {}
        return self.launch(*self.arguments(buffers, m).args, **baked)


@breaks("KR205", "a sealed call with passes_on = '': got RuntimeError: .*, expected sm90_bf16_gemm.*, as launch")
class SaysThatItsFunctionOnlyPassesOn(Bf16Gemm):
    passes_on = ""

    def function(self) -> Callable[..., Any]:
        own = super().function()

        def bf16_gemm_nn(a: Any, b: Any, d: Any, c: Any = None, compiled_dims: str = "") -> Any:
            return own(a, b, d, c, compiled_dims)  # and not _C.bf16_gemm_nn

        return bf16_gemm_nn


@breaks("KR206", "kernel_depends_on_m = False: got .*, as at m=1")
class SaysOneKernel(Bf16Gemm):
    proof = evolve(Bf16Gemm.proof, kernel_depends_on_m=False)


@breaks("KR206", "n=2304 with affects_kernel = False: got .*, as with 576")
class SaysThatNOnlySizes(Bf16Gemm):
    dimensions = (evolve(N, multiple_of=8, affects_kernel=False), evolve(K, multiple_of=8))
    proof = Proof(examples=({"n": 576, "k": 512},))


@breaks("KR210", r"the undeclared setting num_sms=66: got sm90_bf16_gemm\S*, expected sm90_bf16_gemm\S*")
class DeclaresNoSetting(Bf16Gemm):
    settings = (DETERMINISTIC,)


@breaks(
    "KR211", r"a call with compiled_dims='m', which is read as n=256 k=512: got sm90_bf16_gemm\S*, expected sm90_bf16"
)
class DropsAnArgumentThatItReads(Bf16Gemm):
    signature = Signature("a, b, d, c=None, compiled_dims='', *args, **kwargs")

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        assert isinstance(call.compiled_dims, str)
        return super().shape_of(call)


@breaks("KR211", r"of a call that leaves compiled_dims out: got .*n=256 .*, expected n=248 .*, as with its default ''")
class AnotherDefaultThanDeepGemm(Bf16Gemm):
    signature = Signature("a, b, d, c=None, compiled_dims='nk'")

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        shape = super().shape_of(call)
        return shape if call.compiled_dims == "nk" else {**shape, "n": 248}


@breaks(
    "KR211", r"of a call that leaves compiled_dims out: got an unknown call, expected n=256 .*, as with its default"
)
class AnotherDefaultThatIsAlwaysGiven(Bf16Gemm):
    signature = Signature("a, b, d, c=None, compiled_dims='nk'")

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call(super().arguments(buffers, m).args, {"compiled_dims": ""})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        if call.compiled_dims or call.c is not None:
            raise ShapeError("must be ''", "compiled_dims")
        return super().shape_of(call)


@breaks("KR207", "got 1 synchronisations, expected none")
class WaitsForTheDevice(Bf16Gemm):
    def launch(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        super().launch(a, *args, **kwargs)
        if a.is_cuda:
            import torch

            torch.cuda.synchronize()


@breaks("KR208", "got 1 launches on another one, expected all on s")
class DefaultStreamOnly(Bf16Gemm):
    def launch(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not a.is_cuda:
            return super().launch(a, *args, **kwargs)
        import torch

        with torch.cuda.stream(torch.cuda.default_stream()):
            return super().launch(a, *args, **kwargs)


@breaks("KR209", r"workspace_requirement\(shape, max_m=1\): got 0 bytes, expected at least the 4096 allocated")
class UndeclaredWorkspace(Bf16Gemm):
    def launch(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        scratch = a.new_empty(2048) if a.is_cuda else None
        super().launch(a, *args, **kwargs)
        del scratch


# ---- launches on a device --------------------------------------------------------------------------------------


class _OwnFunction(PlainGemm):
    """Launches a method of its own."""

    def function(self) -> Callable[..., Any]:
        return self.compute

    def compute(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, num_splits: int = 1) -> None:
        plain_gemm(a, b, d)


@breaks("KR301", "the result 'd': got a difference of .* from the reference, expected at most 0.001")
class WrongReference(PlainGemm):
    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m] @ buffers.b.T * 1.1}


@breaks("KR302", "got 24 of 408 elements still hold what was there before, expected all written")
class LeavesTheLastRow(_OwnFunction):
    def compute(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, num_splits: int = 1) -> None:
        whole = max(1, len(a) // 16 * 16)
        plain_gemm(a[:whole], b, d[:whole])


@breaks("KR303", "got writes 24 elements of 'd' outside of what belongs to m=17")
class WritesPastM(_OwnFunction):
    def compute(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, num_splits: int = 1) -> None:
        plain_gemm(a, b, d)
        rows, columns = d.shape
        d.as_strided((rows + 1, columns), d.stride())[-1] = 0


@breaks("KR303", "got writes outside d, expected no write before or after a buffer")
class WritesBeforeItsBuffer(_OwnFunction):
    def compute(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, num_splits: int = 1) -> None:
        plain_gemm(a, b, d)
        d.as_strided((1,), (1,), d.storage_offset() - 1).zero_()


@breaks("KR304", "got changes .* elements of the input 'a', expected no change of inputs and weights")
class MutatesAnInput(_OwnFunction):
    def compute(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, num_splits: int = 1) -> None:
        plain_gemm(a, b, d)
        a.neg_()


@breaks("KR305", "elements differ between two launches")
class AnotherResultEachTime(_OwnFunction):
    def compute(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, num_splits: int = 1) -> None:
        import torch

        plain_gemm(a, b, d)
        d.add_(torch.randn_like(d), alpha=0.01)
