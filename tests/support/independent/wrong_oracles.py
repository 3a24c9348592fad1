"""Right launches whose inputs, references or comparisons would let wrong ones pass; most come with such a launch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from independent import right
from kregistry import Buffers, EmptyInput

if TYPE_CHECKING:
    import torch

Pair = tuple[Any, Any]


def gemm(a: Pair, b: Pair, d: torch.Tensor) -> None:
    from independent.functions import scaled_gemm

    scaled_gemm(a, b, d)


class FillsOneBlock(right.ScaledGemm):
    """fill() writes numbers into the first block of k only, and zeros elsewhere; the launch reads that block only."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm((a[0][:, :32], a[1]), (b[0][:, :32], b[1]), d)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.a[:m, 32:] = 0


class AllRowsEqual(right.ScaledGemm):
    """fill() makes all rows of a the same, and the launch computes one row."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm((a[0][:1], a[1][:1]), b, d[:1])
        d.copy_(d[:1].expand_as(d))

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.a[:m] = buffers.a[:1].clone()
        buffers.sfa[:m] = buffers.sfa[:1].clone()


class ScalesPowersOfTwo(right.ScaledGemm):
    """Scale factors are powers of two in fill(), and the launch rounds them to powers of two."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, (b[0], b[1].log2().round().exp2()), d)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.sfb.copy_(buffers.sfb.log2().round().exp2())


class PositiveInputs(right.ScaledGemm):
    """Inputs are positive in fill(), and the launch uses a ReLU of them."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm((a[0].relu(), a[1]), b, d)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.a[:m].abs_()


class SmallInputs(right.ScaledGemm):
    """Inputs are below one in fill(), and the launch clamps them to one."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm((a[0].clamp(-1, 1), a[1]), b, d)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.a[:m].uniform_(-1, 1, generator=generator)


class FullGroups(right.MaskedGemm):
    """fill() makes every group full, and the launch does not mask."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, masked_m: torch.Tensor) -> None:
        d.copy_(a.float() @ b.float().transpose(1, 2))

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.masked_m.fill_(m)


class NoEmptyGroups(right.KGroupedGemm):
    """fill() gives every group the same rows, and the launch counts on that."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, sizes: torch.Tensor) -> None:
        from independent.functions import k_grouped_gemm

        even = sizes.clone().fill_(len(a) // len(sizes))
        even[-1] += len(a) - int(even.sum())
        k_grouped_gemm(a, b, d, even)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.sizes.fill_(m // len(buffers.sizes))
        buffers.sizes[-1] += m - int(buffers.sizes.sum())


class LongContexts(right.PagedScores):
    """fill() makes all contexts as long as possible, and the launch ignores their lengths."""

    @staticmethod
    def own(q: Any, cache: Any, pages: Any, lengths: torch.Tensor, scores: torch.Tensor) -> None:
        from independent.functions import paged_scores

        paged_scores(q, cache, pages, lengths * 0 + scores.shape[1], scores)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.lengths[:m] = buffers.scores.shape[1]


class FillsTheOutput(right.ScaledGemm):
    """fill() makes the output zeros, and the launch adds to it."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        old = d.clone()
        gemm(a, b, d)
        d.add_(old)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.d.zero_()


class FillsAtRandom(right.ScaledGemm):
    """fill() uses the generator of the process."""

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.a[:m].normal_()


class FillsSixteenRows(right.ScaledGemm):
    """fill() writes scale factors of 16 rows only."""

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, min(m, 16), generator)
        buffers.a[:m].normal_(generator=generator)


class ScalesOfOne(right.ScaledGemm):
    """All scale factors are one, and the launch leaves them out."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        d.copy_(a[0].float() @ b[0].float().T)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.sfa[:m] = 1
        buffers.sfb.fill_(1)


class ReferenceIsTheFunction(right.ScaledGemm):
    """The reference calls the very function, by another way than function()."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, (b[0], b[1].roll(1, 0)), d)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        d = torch.empty((m, buffers.b.shape[0]))
        type(self).own((buffers.a[:m], buffers.sfa[:m]), (buffers.b, buffers.sfb), d)
        return {"d": d}


class ReferenceReadsTheOutput(right.ScaledGemm):
    """The reference is the output, if that is finite."""

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        wanted = super().reference(buffers, m)["d"]
        d = buffers.d[:m].double()
        return {"d": d.where(d.isfinite() & (d.abs() < 1e3), wanted)}


class ReferenceOfTheSameBlock(right.ScaledGemm):
    """Launch and reference both use the scale factors of the first block for all columns."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm((a[0], a[1][:, :1].expand_as(a[1])), b, d)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        saved = buffers.sfa[:m].clone()
        buffers.sfa[:m] = saved[:, :1].expand_as(saved).clone()
        try:
            return super().reference(buffers, m)
        finally:
            buffers.sfa[:m] = saved


class ReferenceInPlace(right.ScaledGemm):
    """The reference scales a in place."""

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        wanted = super().reference(buffers, m)
        buffers.sfa[:m].mul_(2)
        return wanted


class ReferenceOfZeros(right.PagedScores):
    """Scores are only right where they count; the reference gives zeros elsewhere, and so does results()."""

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"scores": buffers.scores[:m] * (buffers.lengths[:m, None] > 10)}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"scores": super().reference(buffers, m)["scores"] * (buffers.lengths[:m, None] > 10)}


class WideTolerance(right.ScaledGemm):
    """Half of the result may be wrong."""

    proof = right.proof({"n": 96, "k": 128}, {"n": 40, "k": 72}, tolerance=0.5)


class AbsoluteComparison(right.ScaledGemm):
    """results() rounds to whole numbers, of which most are zero for small inputs."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        d.round_()

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": (buffers.d[:m].float() / 64).round()}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": (super().reference(buffers, m)["d"] / 64).round()}


class ComparesSums(right.ScaledGemm):
    """results() adds up the columns, and the launch writes them in reverse order."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        d.copy_(d.flip(1))

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m].double().sum(1)}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": super().reference(buffers, m)["d"].sum(1)}


class ComparesMagnitudes(right.ScaledGemm):
    """results() takes absolute values, and the launch has the wrong sign."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        d.neg_()

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m].abs()}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": super().reference(buffers, m)["d"].abs()}


class ComparesSorted(right.ScaledGemm):
    """results() sorts each row."""

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m].sort(1).values}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": super().reference(buffers, m)["d"].sort(1).values}


class ComparesOneColumn(right.ScaledGemm):
    """Only the first column is compared."""

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:m, :1]}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": super().reference(buffers, m)["d"][:, :1]}


class ValuesOnly(right.Quantize):
    """The scale factors that the function returns are not compared, and are those of the row before."""

    @staticmethod
    def own(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from independent.functions import quantize

        values, scales = quantize(x)
        return values, scales.roll(1)

    def returned(self, value: Any, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"values": value[0]}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"values": super().reference(buffers, m)["values"]}


class MostRowsWritable(right.ScaledGemm):
    """Everything may be written, so that nothing is found written past m; the launch writes it."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        n = d.shape[1]
        d.as_strided((d.untyped_storage().nbytes() // 2 // n, n), (n, 1))[len(d) :] = 0

    def writable(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d}


class EmptyIsNothing(right.Quantize):
    """An empty call returns None."""

    def empty_result(self, call: Any) -> Any:
        return None


class EmptyInFloat(right.Quantize):
    """An empty call returns tensors of another dtype."""

    def empty_result(self, call: Any) -> Any:
        import torch

        return torch.empty((0, call.x.shape[1])), torch.empty((0,))


class EmptyIsReturned(right.ColumnSums):
    """An empty input is declared to write nothing, though the output does not shrink."""

    empty_input = EmptyInput.RETURN


MUTANTS = (
    FillsOneBlock,
    AllRowsEqual,
    ScalesPowersOfTwo,
    PositiveInputs,
    SmallInputs,
    FullGroups,
    NoEmptyGroups,
    LongContexts,
    FillsTheOutput,
    FillsAtRandom,
    FillsSixteenRows,
    ScalesOfOne,
    ReferenceIsTheFunction,
    ReferenceReadsTheOutput,
    ReferenceOfTheSameBlock,
    ReferenceInPlace,
    ReferenceOfZeros,
    WideTolerance,
    AbsoluteComparison,
    ComparesSums,
    ComparesMagnitudes,
    ComparesSorted,
    ComparesOneColumn,
    ValuesOnly,
    MostRowsWritable,
    EmptyIsNothing,
    EmptyInFloat,
    EmptyIsReturned,
)
