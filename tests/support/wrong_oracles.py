"""Wrong kernel types whose inputs, reference, tolerance or claims hide the fault: each breaks just one rule."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve
from good_kernel_types import K, N, PlainGemm, plain_gemm
from wrong_kernel_types import breaks

from kregistry import Arguments, Buffers, BufferSpec, Call, EmptyInput, Shape, Signature, Value

if TYPE_CHECKING:
    import torch

#: What KeepsItsArguments keeps.
_KEPT: list[Any] = []


@breaks("KR109", r"NoArch.archs: got \(\), expected at least one arch")
class NoArch(PlainGemm):
    archs = ()


@breaks("KR109", "got handles_empty = '', raises_on_empty = '>=0.2', expected at most one of them")
class ReturnsAndRaises(PlainGemm):
    handles_empty = ""
    raises_on_empty = ">=0.2"


@breaks("KR116", r"outputs\(buffers, 0\) with empty_input = ZERO_OUTPUTS: got no element, expected what is set to zero")
class ZeroesNothing(PlainGemm):
    empty_input = EmptyInput.ZERO_OUTPUTS


@breaks("KR118", r"read_m\(\) of the call with every argument by position: got 1, expected 0")
class ReadsAnotherMByPosition(PlainGemm):
    def read_m(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, *others: Any, **named: Any) -> int:
        return int(a.shape[0]) + len(others)


@breaks("KR118", r"read_m\(\) of the call with every argument by keyword: got TypeError")
class ReadsByPositionOnly(PlainGemm):
    def read_m(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        return int(x.shape[0])


@breaks("KR119", r"read_m\(\): got \d+ lines of Python, expected at most 60")
class CountsRows(PlainGemm):
    def read_m(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        rows = 0
        for _ in range(a.shape[0]):
            rows += 1
            rows += 1
            rows += 1
        return rows // 3


@breaks("KR123", "accepts the reference with 5% of noise")
class AcceptsNoise(PlainGemm):
    proof = evolve(PlainGemm.proof, tolerance=0.01)


@breaks("KR124", "got writes 24 elements of the output 'd', expected no write")
class FillWritesTheResult(PlainGemm):
    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.d[:m] = self.reference(buffers, m)["d"]


@breaks("KR124", r"got writes 80 elements of 'a' that are not in arguments\(buffers, m=17\)")
class FillWritesPastM(PlainGemm):
    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a.normal_(generator=generator)
        buffers.b.normal_(generator=generator)


@breaks("KR125", r"fill\(\): got changes the random numbers of torch, expected no change")
class DrawsFromTheProcess(PlainGemm):
    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        super().fill(buffers, m, generator)
        torch.rand(1)


@breaks("KR125", r"buffers\(\): got changes the environment variable SIZES_WERE_ASKED_FOR, expected no change")
class SetsAVariableInBuffers(PlainGemm):
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        os.environ["SIZES_WERE_ASKED_FOR"] = "1"
        return super().buffers(shape, max_m)


@breaks("KR125", r"what read_m\(\) prints: got 'm = 17\\n', expected nothing")
class PrintsEachValue(PlainGemm):
    def read_m(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        print("m =", a.shape[0])
        return a.shape[0]


@breaks("KR137", r"read_m\(\).*: got keeps the memory of a, expected nothing of it, once the caller has let go")
class KeepsItsArguments(PlainGemm):
    def read_m(self, a: torch.Tensor, *args: Any, **kwargs: Any) -> int:
        _KEPT.append(a)
        return a.shape[0]


@breaks("KR115", "got n=48, expected n=40")
class SwapsEqualSizes(PlainGemm):
    dimensions = (evolve(N, multiple_of=8), evolve(K, multiple_of=8), PlainGemm.dimensions[2])
    proof = evolve(PlainGemm.proof, examples=({"n": 40, "k": 40}, {"n": 24, "k": 24}))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.b.shape[1], "k": call.b.shape[0], "num_splits": call.num_splits}


class _Scaled(PlainGemm):
    """A GEMM with a scale factor for each row."""

    signature = Signature("a, b, d, num_splits=1, scale=None")

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {**super().buffers(shape, max_m), "scale": BufferSpec((max_m, 1), "float32")}

    def function(self) -> Callable[..., Any]:
        return self.compute

    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1, scale: Any = None) -> None:
        plain_gemm(a, b, d)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        return Call(call.args, {**call.kwargs, "scale": buffers.scale[:m]})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        assert call.scale is not None
        return super().shape_of(call)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.scale[:m].uniform_(1, 2, generator=generator)


@breaks("KR126", "with 'scale' of another seed: got the same results, expected other results")
class IgnoresItsScales(_Scaled):
    pass


@breaks("KR126", r"'scale' after fill\(buffers, m=17\): got the same value everywhere")
class OneScaleForAll(_Scaled):
    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1, scale: Any = None) -> None:
        plain_gemm(a * scale[0], b, d)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        PlainGemm.fill(self, buffers, m, generator)
        buffers.scale[:m].fill_(1.5)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": (buffers.a[:m] * buffers.scale[:m]) @ buffers.b.T}


@breaks("KR127", "got a call of the kernel type's function, expected a reference of its own")
class JudgesItself(PlainGemm):
    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        d = buffers.a.new_empty((m, buffers.shape.n))
        self.function()(buffers.a[:m], buffers.b, d)
        return {"d": d}


@breaks("KR128", "after a change of index 1 in dimension 1 of the output 'd': got the same results")
class ComparesOneColumn(PlainGemm):
    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m, :1]}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m] @ buffers.b[:1].T}


class _Gathers(PlainGemm):
    """A GEMM of chosen rows."""

    signature = Signature("a, b, d, num_splits=1, index=None")

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {**super().buffers(shape, max_m), "index": BufferSpec((max_m,), "int64")}

    def function(self) -> Callable[..., Any]:
        return self.compute

    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1, index: Any = None) -> None:
        plain_gemm(a[index], b, d)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        return Call(call.args, {**call.kwargs, "index": buffers.index[:m]})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        assert call.index is not None
        return super().shape_of(call)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        super().fill(buffers, m, generator)
        buffers.index[:m] = torch.randint(0, m, (m,), generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m][buffers.index[:m]] @ buffers.b.T}


@breaks("KR129", r"reference\(buffers as allocated, m=1\): got \w*Error")
class IndexWithoutAnInitialValue(_Gathers):
    pass


@breaks("KR315", r"execute\(buffers as allocated, m=1\): got \w*Error")
class LaunchReadsAnUncheckedIndex(_Gathers):
    """The reference stays inside. KR129 looks at one-dimensional indices only."""

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {**super().buffers(shape, max_m), "index": BufferSpec((max_m, 1), "int64")}

    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1, index: Any = None) -> None:
        plain_gemm(a[index[:, 0]], b, d)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        PlainGemm.fill(self, buffers, m, generator)
        buffers.index[:m] = torch.randint(0, m, (m, 1), generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m][buffers.index[:m, 0].clamp(0, m - 1)] @ buffers.b.T}


@breaks("KR129", r"buffers\(\)\['index'\].initial: got 100, expected at most 0: fill\(\) draws 0 to 0")
class InitialIndexPastTheEnd(_Gathers):
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {**super().buffers(shape, max_m), "index": BufferSpec((max_m,), "int64", initial=100)}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m][buffers.index[:m].clamp(0, m - 1)] @ buffers.b.T}


@breaks("KR129", r"reference\(buffers as allocated, m=193\): got IndexError: index \d+ is out of bounds")
class InitialIndexLeavesTheTable(_Gathers):
    """The table has 100 rows, whatever m is."""

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        table = BufferSpec((100, shape.k), "float32", "weight")
        return {
            **super().buffers(shape, max_m),
            "a": table,
            "index": BufferSpec((max_m,), "int64", initial=tuple(range(max_m))),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        return Call((buffers.a, *call.args[1:]), call.kwargs)

    def read_m(self, a: Any, b: Any, d: Any, *args: Any, **kwargs: Any) -> int:
        return len(d)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        buffers.a.normal_(generator=generator)
        buffers.b.normal_(generator=generator)
        buffers.index[:m] = torch.randint(0, 100, (m,), generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[buffers.index[:m]] @ buffers.b.T}


@breaks("KR132", r"read_m\(\*arguments\(buffers, m=65537\)\): got 256, expected 65537")
class StopsAt256Rows(PlainGemm):
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return super().buffers(shape, min(max_m, 256))


@breaks("KR132", r"the buffer 'a' at max_m=193, after the same for 262148: got .*, as before: all servers plan alike")
class RemembersTheLargestValue(PlainGemm):
    largest = 1

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        if max_m > 200_000:
            type(self).largest = max_m
        return super().buffers(shape, max(max_m, type(self).largest))


@breaks("KR133", "got NaN or infinity, expected finite values")
class InputsForEvenSizesOnly(PlainGemm):
    proof = evolve(PlainGemm.proof, examples=({"n": 24, "k": 40}, {"n": 8, "k": 16}))

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        if buffers.shape.k % 2:
            buffers.b.fill_(math.inf)


@breaks("KR134", "got nothing of 'd', expected what is written")
class WritesNothing(PlainGemm):
    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:0]}

    def writable(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m]}

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m]}


@breaks("KR134", r"writable\(buffers for \d+, m=1\): got \d+ elements of 'd' besides the outputs, expected the \d+")
class MayWriteEverything(PlainGemm):
    def writable(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d}


@breaks("KR135", r"'a' after fill\(buffers, m=17\): got the rows 0 and 1 are the same, expected random numbers")
class RowsAreEqual(PlainGemm):
    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {**super().buffers(shape, max_m), "a": BufferSpec((max_m, shape.k), "bfloat16")}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.a[1:m] = buffers.a[:1].clone()

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m].float() @ buffers.b.T}


@breaks(
    "KR136", r"num_splits of arguments\(buffers, m=100\) with linear_arguments: got None, expected 1, on a line from"
)
class AnotherCallAtOneValue(PlainGemm):
    def linear_arguments(self, shape: Any) -> bool:
        return True

    def arguments(self, buffers: Any, m: int) -> Any:
        call = super().arguments(buffers, m)
        return Call(call.args) if m == 100 and call.kwargs["num_splits"] == 1 else call
