"""Kernel types whose declaration, buffers or reading of calls is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from independent import right
from kregistry import Arguments, Buffers, BufferSpec, Call, Choice, Flag, Proof, RunDimension, Shape, Signature, Value

if TYPE_CHECKING:
    import torch

_SEEN: dict[Any, Any] = {}


class StopsAtFourThousand(right.ScaledGemm):
    """Its buffers have 4,096 rows at most."""

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return super().buffers(shape, min(max_m, 4096))


class UnalignedScales(right.ScaledGemm):
    """The columns of the scale factors are as long as a multiple of 4 rows below m."""

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        declared = dict(super().buffers(shape, max_m))
        columns = declared["sfa"].shape[1]
        rows = max(max_m // 4 * 4, 1)
        short = evolve(declared["sfa"], strides=(1, rows), storage=rows * columns)
        return {**declared, "sfa": short}


class BuffersByTheFirstSize(right.ScaledGemm):
    """The declaration is kept by n and k, but not by the largest m."""

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        key = (shape.n, shape.k)
        return _SEEN.setdefault(key, super().buffers(shape, max_m))


class BytesWithoutScales(right.ScaledGemm):
    """The memory requirement forgets the scale factors."""

    def memory_requirement(self, shape: Shape, max_m: int) -> int:
        return 2 * (max_m * shape.k + shape.n * shape.k + max_m * shape.n)


class BytesOfOneTarget(right.ScaledGemm):
    """The memory requirement is rounded up to whole pages."""

    def memory_requirement(self, shape: Shape, max_m: int) -> int:
        return -(-super().memory_requirement(shape, max_m) // 512) * 512


class KOfScales(right.ScaledGemm):
    """k is read off the scale factors: 32 for each."""

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.b[0].shape[0], "k": 32 * call.b[1].shape[1]}


class Swapped(right.ScaledGemm):
    """n and k are mixed up, and the examples are square."""

    proof = right.proof({"n": 64, "k": 64}, {"n": 96, "k": 96})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        k, n = call.b[0].shape
        return {"n": n, "k": k}


class RowsOfA(right.ScaledGemm):
    """read_m reads the rows of a for tuples, and of the wrong argument for keywords."""

    def read_m(self, a: Any, b: Any, d: Any = None) -> int:
        rows: int = d.shape[1] if d is not None and _SEEN.get("never") else (a[0].shape[0] + 15) // 16 * 16
        return rows


class KeywordsOfItsOwn(right.MaskedGemm):
    """read_m names the parameters as the author likes."""

    def read_m(self, x: Any, w: Any, out: torch.Tensor, counts: Any) -> int:
        rows: int = out.shape[1]
        return rows


class CountsOnTheHost(right.MaskedGemm):
    """read_m reads the counts on the device."""

    def read_m(self, a: Any, b: Any, d: torch.Tensor, masked_m: Any) -> int:
        return int(masked_m.max()) if d.shape[1] else 0


class CountsRowsOneByOne(right.GroupedGemm):
    """read_m counts rows in Python."""

    def read_m(self, a: Any, b: Any, d: torch.Tensor, groups: Any) -> int:
        return sum(1 for _ in range(d.shape[0]))


class CopiesOddRows(right.ScaledGemm):
    """arguments() copies a where m is odd."""

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        (a, sfa), b, d = call.args
        return Call(((a.clone() if m % 2 else a, sfa), b, d))


class WholeOutput(right.ScaledGemm):
    """arguments() passes all of d, of which the launch writes m rows."""

    @staticmethod
    def own(a: Any, b: Any, d: torch.Tensor) -> None:
        from independent.functions import scaled_gemm

        scaled_gemm(a, b, d[: len(a[0])])

    def arguments(self, buffers: Buffers, m: int) -> Call:
        (a, b, _) = super().arguments(buffers, m).args
        return Call((a, b, buffers.d))

    def read_m(self, a: Any, b: Any, d: Any) -> int:
        rows: int = a[0].shape[0]
        return rows


class OtherCallInWarmup(right.ScaledGemm):
    """execute() rounds m up to 64, as far as the buffers go."""

    def execute(self, buffers: Buffers, m: int) -> Any:
        return super().execute(buffers, min(-(-m // 64) * 64, buffers.max_m))


class LaunchesOnNothing(right.ScaledGemm):
    """launch() calls the function for an empty input, though empty_input says that it does not."""

    def launch(self, *args: Any, **kwargs: Any) -> Any:
        return self.function()(*args, **kwargs)


class RemembersM(right.ScaledGemm):
    """launch() keeps the last m on the object."""

    def launch(self, *args: Any, **kwargs: Any) -> Any:
        vars(self)["last"] = self.read_m(*args, **kwargs)
        return super().launch(*args, **kwargs)


class HoldsAFunction(right.ScaledGemm):
    """It cannot be pickled."""

    def __init__(self) -> None:
        self.rounding = lambda m: m


class PolicyOfTheNextValue(right.SplitGemm):
    """arguments() evaluates the policy for m + 1."""

    def parts(self, buffers: Buffers, m: int) -> torch.Tensor:
        count = buffers.shape.at(right.SPLITS, m + 1) or 1
        return buffers.parts[: count * m].view(count, m, buffers.shape.n)


class PartsOfTheLargest(right.SplitGemm):
    """The buffers hold the parts of the policy at the largest m, which are fewer than at small ones."""

    def most_splits(self, shape: Shape) -> int:
        return shape.at(right.SPLITS, 10**6) or 1

    def parts(self, buffers: Buffers, m: int) -> torch.Tensor:
        count = buffers.shape.at(right.SPLITS, m) or 1
        room = buffers.parts.shape[0] // max(m, 1)
        count = min(count, room)
        return buffers.parts[: count * m].view(count, m, buffers.shape.n)


class SplitsNotRead(right.SplitGemm):
    """shape_of() does not read the number of parts: it gives the usual one."""

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.b.shape[0], "k": call.b.shape[1], "num_splits": 2}


class DimensionWithoutUse(right.ScaledGemm):
    """A dimension that reaches no call."""

    dimensions = (*right.ScaledGemm.dimensions, Flag("fast", "accumulate faster", default=False))
    proof = right.proof({"n": 96, "k": 128}, {"n": 40, "k": 72, "fast": True})


class WrongDefault(right.ScaledGemm):
    """The default of the signature is not that of the function."""

    dimensions = (*right.ScaledGemm.dimensions, Choice("output", "kind", ("plain", "twice"), default="plain"))
    signature = Signature("a, b, d, output='twice'")

    @staticmethod
    def own(a: Any, b: Any, d: Any, output: str = "plain") -> None:
        from independent.functions import scaled_gemm

        scaled_gemm(a, b, d)
        if output == "twice":
            d.mul_(2)

    def read_m(self, a: Any, b: Any, d: Any, output: str = "plain") -> int:
        rows: int = d.shape[0]
        return rows

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {**super().shape_of(call), "output": call.output}

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        return call if buffers.shape.output == "plain" else evolve(call, kwargs={"output": "twice"})


class NoLaunchableValue(right.ScaledGemm):
    """The tests begin after they end."""

    proof = Proof(devices=("cpu",), examples=({"n": 96, "k": 128},), start=64, stop=32)


class OnlyOneValue(right.ScaledGemm):
    """Only m = 64 is tried, and the launch is wrong for all values that are no multiple of 64."""

    proof = Proof(devices=("cpu",), examples=({"n": 96, "k": 128}, {"n": 40, "k": 72}), start=64, stop=64)

    @staticmethod
    def own(a: Any, b: Any, d: torch.Tensor) -> None:
        from independent.functions import scaled_gemm

        scaled_gemm(a, b, d)
        d[len(d) // 64 * 64 :] = 0


class ForeverCollective(right.ScaledGemm):
    """It says that every launch waits for others, so that none is tried; the launch is wrong."""

    @staticmethod
    def own(a: Any, b: Any, d: torch.Tensor) -> None:
        d.zero_()

    def collective(self, shape: Shape) -> str | None:
        return "waits for the other ranks"


class RefusesMost(right.ScaledGemm):
    """It says that calls above 128 rows crash, which they do not."""

    def refusal(self, shape: Shape, m: int) -> str | None:
        return "crashes above 128 rows" if m > 128 else None


class EndsEarly(right.ScaledGemm):
    """It says that 128 rows are the most, which is not so."""

    def largest_m(self, shape: Shape) -> int | None:
        return 128


class ManySteps(right.ScaledGemm):
    """It says that m is a multiple of 64, though engines call it with any."""

    run_dimension = RunDimension("m", "rows", "rows", start=64, step=64)

    @staticmethod
    def own(a: Any, b: Any, d: torch.Tensor) -> None:
        from independent.functions import scaled_gemm

        scaled_gemm(a, b, d)
        d[len(d) // 64 * 64 :] = 0


MUTANTS = (
    StopsAtFourThousand,
    UnalignedScales,
    BuffersByTheFirstSize,
    BytesWithoutScales,
    BytesOfOneTarget,
    KOfScales,
    Swapped,
    RowsOfA,
    KeywordsOfItsOwn,
    CountsOnTheHost,
    CountsRowsOneByOne,
    CopiesOddRows,
    WholeOutput,
    OtherCallInWarmup,
    LaunchesOnNothing,
    RemembersM,
    HoldsAFunction,
    PolicyOfTheNextValue,
    PartsOfTheLargest,
    SplitsNotRead,
    DimensionWithoutUse,
    WrongDefault,
    NoLaunchableValue,
    OnlyOneValue,
    ForeverCollective,
    RefusesMost,
    EndsEarly,
    ManySteps,
)
