"""Launches that compute something else, at least for some inputs, sizes or values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from independent import right
from kregistry import Buffers

if TYPE_CHECKING:
    import torch

Pair = tuple[Any, Any]


def gemm(a: Pair, b: Pair, d: torch.Tensor) -> None:
    from independent.functions import scaled_gemm

    scaled_gemm(a, b, d)


class ScalesByRows(right.ScaledGemm):
    """It reads the scale factors of a by rows, though they lie column by column."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm((a[0], a[1].as_strided(a[1].shape, (a[1].shape[1], 1))), b, d)


class TailOfKForgotten(right.ScaledGemm):
    """Columns of k past the last whole block are left out."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        k = a[0].shape[1] // 32 * 32
        gemm((a[0][:, :k], a[1]), (b[0][:, :k], b[1]), d)


class NoScalesForOneRow(right.ScaledGemm):
    """The path for a single row forgets the scale factors of a."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm((a[0], a[1] * 0 + 1) if len(d) == 1 else a, b, d)


class LastRowOfFullTiles(right.ScaledGemm):
    """With exactly two tiles of 64 rows, the last row gets the result of the row before."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        if len(d) == 128:
            d[-1] = d[-2]


class WideOutputs(right.ScaledGemm):
    """From 1,024 output columns on, the scale factors of b are shifted by a block."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, (b[0], b[1].roll(1, 0)) if d.shape[1] >= 1024 else b, d)


class DeepInputs(right.ScaledGemm):
    """From k = 2,048 on, a second accumulator is forgotten."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        k = min(a[0].shape[1], 2048)
        gemm((a[0][:, :k], a[1]), (b[0][:, :k], b[1]), d)


class GridTooSmall(right.ScaledGemm):
    """At most 1,024 rows are computed; the grid has no more tiles."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm((a[0][:1024], a[1][:1024]), b, d[:1024])


class IndexOf16Bits(right.Quantize):
    """Row numbers have 16 bits: from row 32,768 on, another row is quantised."""

    @staticmethod
    def own(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        from independent.functions import quantize

        return quantize(x[torch.arange(len(x)).to(torch.int16).long()])


class Clamped(right.ScaledGemm):
    """The result is clamped to +-448 before it is stored."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        d.clamp_(-448, 448)


class SmallScalesAreZero(right.ScaledGemm):
    """Scale factors are rounded to E4M3, in which small ones are zero."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, (b[0], (b[1] * 512).round() / 512), d)


class NegativeScales(right.ScaledGemm):
    """The sign of a scale factor is lost."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, (b[0], b[1].abs()), d)


class ZeroRows(right.Quantize):
    """A row of zeros is divided by zero."""

    @staticmethod
    def own(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        scales = x.float().abs().amax(1) / 127
        return (x.float() / scales[:, None]).round().to(torch.int8), scales


class HalfPrecision(right.Quantize):
    """Inputs go through FP16, which overflows at 65,504."""

    @staticmethod
    def own(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from independent.functions import quantize

        return quantize(x.half())


class AccumulatesInBf16(right.ScaledGemm):
    """Each block of k is rounded to BF16 when it is added."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        import torch

        total = torch.zeros_like(d)
        for first in range(0, a[0].shape[1], 8):
            part = torch.zeros_like(d)
            left = torch.zeros_like(a[0])
            left[:, first : first + 8] = a[0][:, first : first + 8]
            gemm((left, a[1]), b, part)
            total += part
        d.copy_(total)


class LowReference(AccumulatesInBf16):
    """The reference accumulates in BF16 as the function does, so that both lose the same digits."""

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        n, k = buffers.b.shape
        left = (buffers.a[:m] * buffers.sfa[:m].repeat_interleave(32, 1)[:, :k]).bfloat16()
        scales = buffers.sfb.repeat_interleave(32, 0)[:n].repeat_interleave(32, 1)[:, :k]
        weights = (buffers.b * scales).bfloat16()
        total = torch.zeros((m, n), dtype=torch.bfloat16)
        for column in range(k):
            total += left[:, column : column + 1] * weights[:, column : column + 1].T
        return {"d": total}


class LastGroupIgnored(right.GroupedGemm):
    """The last group's weights are those of the first."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, groups: torch.Tensor) -> None:
        from independent.functions import grouped_gemm

        grouped_gemm(a, b, d, groups % (len(b) - 1))


class NoGroupIsTheLast(right.GroupedGemm):
    """-1 indexes from the end, as in Python."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, groups: torch.Tensor) -> None:
        d.copy_((b.float()[groups.long()] @ a.float().unsqueeze(2)).squeeze(2))


class GroupsOfOneRow(right.GroupedGemm):
    """A group that has one row only is left out."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, groups: torch.Tensor) -> None:
        from independent.functions import grouped_gemm

        rows = (groups[:, None] == groups).sum(1)
        grouped_gemm(a, b, d, groups.where(rows > 1, -1))


class EmptyGroupFails(right.MaskedGemm):
    """A group without rows keeps what its output held."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, masked_m: torch.Tensor) -> None:
        from independent.functions import masked_gemm

        for group in range(len(b)):
            if masked_m[group]:
                part = slice(group, group + 1)
                masked_gemm(a[part], b[part], d[part], masked_m[part])


class FullGroupIsCut(right.MaskedGemm):
    """The last row of a group that fills its buffer is masked: < where <= was meant."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, masked_m: torch.Tensor) -> None:
        from independent.functions import masked_gemm

        masked_gemm(a, b, d, masked_m.clamp(max=max(d.shape[1] - 1, 0)))


class OneCountForAll(right.MaskedGemm):
    """The count of the first group masks all groups."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, masked_m: torch.Tensor) -> None:
        from independent.functions import masked_gemm

        masked_gemm(a, b, d, masked_m[:1].expand_as(masked_m))


class NotAdded(right.KGroupedGemm):
    """It overwrites where it should add."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, sizes: torch.Tensor) -> None:
        from independent.functions import k_grouped_gemm

        k_grouped_gemm(a, b, d.zero_(), sizes)


class NotAddedToZeros(NotAdded):
    """As before, but fill() makes the outputs zeros, and the reference forgets them."""

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        super().fill(buffers, m, generator)
        buffers.d.zero_()


class EmptyGroupsAreCleared(right.KGroupedGemm):
    """A group without rows is set to zeros, and not left as it is."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, sizes: torch.Tensor) -> None:
        from independent.functions import k_grouped_gemm

        k_grouped_gemm(a, b, d, sizes)
        d[sizes == 0] = 0


class EqualGroups(right.KGroupedGemm):
    """arguments() passes equal group sizes, whatever the buffer says."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, sizes: torch.Tensor) -> None:
        from independent.functions import k_grouped_gemm

        even = sizes.clone().fill_(len(a) // len(sizes))
        even[-1] += len(a) - int(even.sum())
        k_grouped_gemm(a, b, d, even)


class MaskedTwice(right.PagedScores):
    """The mask is applied to the last valid token too."""

    @staticmethod
    def own(q: Any, cache: Any, pages: Any, lengths: torch.Tensor, scores: Any) -> None:
        from independent.functions import paged_scores

        paged_scores(q, cache, pages, lengths - 1, scores)


class WholePagesOnly(right.PagedScores):
    """Where a context ends with a page, the last page is left out."""

    @staticmethod
    def own(q: Any, cache: Any, pages: Any, lengths: torch.Tensor, scores: Any) -> None:
        from independent.functions import paged_scores

        paged_scores(q, cache, pages, lengths.where(lengths % right.PAGE != 0, lengths - right.PAGE), scores)


class PagesOfTheFirstRow(right.PagedScores):
    """All rows use the pages of the first."""

    @staticmethod
    def own(q: Any, cache: Any, pages: torch.Tensor, lengths: Any, scores: Any) -> None:
        from independent.functions import paged_scores

        paged_scores(q, cache, pages[:1].expand_as(pages), lengths, scores)


class OddSplitForgotten(right.SplitGemm):
    """With four parts, the third is zeros."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, parts: torch.Tensor) -> None:
        from independent.functions import split_gemm

        split_gemm(a, b, parts)
        parts[2:3] = 0


class PartsNotWritten(right.SplitGemm):
    """Parts beyond the second are not written: whoever adds them up adds what was there."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, parts: torch.Tensor) -> None:
        from independent.functions import split_gemm

        split_gemm(a, b, parts[:2])


class NotZeroForNothing(right.ColumnSums):
    """An empty input leaves the output as it was."""

    def empty_result(self, call: Any) -> Any:
        return None


MUTANTS = (
    ScalesByRows,
    TailOfKForgotten,
    NoScalesForOneRow,
    LastRowOfFullTiles,
    WideOutputs,
    DeepInputs,
    GridTooSmall,
    IndexOf16Bits,
    Clamped,
    SmallScalesAreZero,
    NegativeScales,
    ZeroRows,
    HalfPrecision,
    AccumulatesInBf16,
    LowReference,
    LastGroupIgnored,
    NoGroupIsTheLast,
    GroupsOfOneRow,
    EmptyGroupFails,
    FullGroupIsCut,
    OneCountForAll,
    NotAdded,
    NotAddedToZeros,
    EmptyGroupsAreCleared,
    EqualGroups,
    MaskedTwice,
    WholePagesOnly,
    PagesOfTheFirstRow,
    OddSplitForgotten,
    PartsNotWritten,
    NotZeroForNothing,
)
