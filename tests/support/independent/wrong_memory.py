"""Launches that write where they may not, read what they may not, or remember."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from independent import right
from kregistry import Buffers

if TYPE_CHECKING:
    import torch

Pair = tuple[Any, Any]
_KEPT: dict[Any, Any] = {}


def gemm(a: Pair, b: Pair, d: torch.Tensor) -> None:
    from independent.functions import scaled_gemm

    scaled_gemm(a, b, d)


class StaleWeights(right.ScaledGemm):
    """It keeps the scaled weights by their address, so that new weights at that address are not seen."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        key = ("weights", b[0].data_ptr(), b[0].shape)
        kept = _KEPT.setdefault(key, (b[0].clone(), b[1].clone()))
        gemm(a, kept, d)


class StaleScales(right.ScaledGemm):
    """It keeps the transformed scale factors of the weights as long as the shape is the same."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, (b[0], _KEPT.setdefault(("scales", b[1].shape), b[1].clone())), d)


class SameCallSkipped(right.ScaledGemm):
    """A call with the tensors of the call before is taken to be done."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        key = (a[0].data_ptr(), b[0].data_ptr(), d.data_ptr(), len(d))
        if _KEPT.get("last") != key:
            gemm(a, b, d)
        _KEPT["last"] = key


class EveryEighthCall(right.ScaledGemm):
    """The state of a semaphore makes every eighth call leave out the last column."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        _KEPT["calls"] = _KEPT.get("calls", 0) + 1
        if _KEPT["calls"] % 8 == 0:
            d[:, -1] = 0


class WorkspaceOfTheFirstCall(right.ScaledGemm):
    """A workspace sized by the first call cuts off rows of later, longer ones."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        rows = _KEPT.setdefault(("workspace", d.shape[1]), max(len(d), 16))
        gemm((a[0][:rows], a[1][:rows]), b, d[:rows])


class LeftoversOfALongerCall(right.MaskedGemm):
    """It keeps the largest count that it saw for each number of groups, and masks with it."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, masked_m: torch.Tensor) -> None:
        import torch

        from independent.functions import masked_gemm

        kept = _KEPT.get(("counts", len(b)), masked_m)
        _KEPT["counts", len(b)] = torch.maximum(kept, masked_m)
        masked_gemm(a, b, d, torch.maximum(kept, masked_m).clamp(max=d.shape[1]))


class ScalesInPlace(right.ScaledGemm):
    """It multiplies a by its scale factors in place."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        a[0].mul_(2)


class ScalesInPlaceAndBack(right.ScaledGemm):
    """It multiplies a by a factor in place and divides again, which loses the digits of large numbers."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        a[0].mul_(3).div_(3)


class WholeTiles(right.ScaledGemm):
    """It stores whole tiles of 16 rows, over rows past m."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        n = d.shape[1]
        room = d.untyped_storage().nbytes() // d.element_size() // n
        rows = min(-(-len(d) // 16) * 16, room)
        d.as_strided((rows, n), (n, 1))[len(d) :] = 0


class WrongRowCleared(right.MaskedGemm):
    """It clears one row too many: the first of the next group's rows past m."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, masked_m: torch.Tensor) -> None:
        from independent.functions import masked_gemm

        masked_gemm(a, b, d, masked_m)
        if d.stride(0) > d.shape[1] * d.stride(1):
            d.as_strided((len(d), d.shape[2]), (d.stride(0), 1), d.storage_offset() + d.shape[1] * d.stride(1)).zero_()


class ReadsPastM(right.ScaledGemm):
    """The largest entry of whole tiles decides a scale; rows past m are read for it."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        gemm(a, b, d)
        k = a[0].shape[1]
        room = a[0].untyped_storage().nbytes() // a[0].element_size() // k
        rows = min(-(-len(d) // 16) * 16, room)
        d.add_(a[0].as_strided((rows, k), (k, 1)).float().sum() * 0)


class ReadsItsOutput(right.ScaledGemm):
    """beta = 0 is a multiplication: NaN that was there stays NaN."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        old = d.clone()
        gemm(a, b, d)
        d.add_(old * 0)


class SumsUp(right.ColumnSums):
    """It adds to its output, which is zero only in the first call."""

    @staticmethod
    def own(x: torch.Tensor, d: torch.Tensor) -> None:
        before = d.clone()
        right.ColumnSums.own(x, d)
        d.add_(before.where(before.isfinite() & (before.abs() < 1e4), 0))


class Dithered(right.Quantize):
    """It rounds at random, with the generator of the process."""

    @staticmethod
    def own(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        from independent.functions import quantize

        _, scales = quantize(x)
        noise = torch.rand(x.shape, device=x.device) - 0.5
        return (x.float() / scales[:, None] + noise * 0.1).round().to(torch.int8), scales


class Seeded(right.Quantize):
    """It rounds at random, and seeds the generator of the process to be deterministic."""

    @staticmethod
    def own(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        torch.manual_seed(0)
        return Dithered.own(x)


class ResultOfACache(right.Quantize):
    """The tensors that it returns are used again by the next call."""

    @staticmethod
    def own(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from independent.functions import quantize

        values, scales = quantize(x)
        kept = _KEPT.setdefault(("result", x.shape), (values, scales))
        kept[0].copy_(values)
        kept[1].copy_(scales)
        return kept


class ResultIsInput(right.Quantize):
    """The scale factors that it returns lie in the memory of the input, whose first column they overwrite."""

    @staticmethod
    def own(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from independent.functions import quantize

        values, scales = quantize(x)
        x[:, 0] = scales.to(x.dtype)
        return values, x[:, 0]


class LeavesPrecision(right.ScaledGemm):
    """It allows TF32, and forgets to forbid it again."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = not torch.backends.cuda.matmul.allow_tf32
        gemm(a, b, d)


class SetsThreads(right.ScaledGemm):
    """It sets the number of threads of the process."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        import torch

        torch.set_num_threads(torch.get_num_threads() % 4 + 1)
        gemm(a, b, d)


class SetsTheEnvironment(right.ScaledGemm):
    """buffers() asks the environment for something, and sets it for later."""

    def arguments(self, buffers: Buffers, m: int) -> Any:
        os.environ["SCALED_GEMM_ROWS"] = str(m)
        return super().arguments(buffers, m)


class LastRowFirst(right.GroupedGemm):
    """Rows without a group keep what the output held."""

    @staticmethod
    def own(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, groups: torch.Tensor) -> None:
        for group in range(b.shape[0]):
            rows = groups == group
            d[rows] = (a[rows].float() @ b[group].float().T).to(d.dtype)


class AlignedOnly(right.ScaledGemm):
    """Vector loads: the last columns of d are left, unless n is a multiple of 8."""

    proof = right.proof({"n": 96, "k": 128}, {"n": 40, "k": 72})

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        n = d.shape[1] // 8 * 8
        gemm(a, (b[0][:n], b[1][: -(-n // 32)]), d[:, :n])


class IndicesOfTheLargestCall(right.PagedScores):
    """The page table has no initial values: a warm-up reads whatever is there as indices."""

    def buffers(self, shape: Any, max_m: int) -> Mapping[str, Any]:
        from attrs import evolve

        declared = dict(super().buffers(shape, max_m))
        return {**declared, "pages": evolve(declared["pages"], initial=None)}


class SwallowsErrors(right.ScaledGemm):
    """launch() hides the exception of a function that refuses some values."""

    @staticmethod
    def own(a: Pair, b: Pair, d: torch.Tensor) -> None:
        if len(d) % 64 == 63:
            raise RuntimeError("unsupported")
        gemm(a, b, d)

    def launch(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().launch(*args, **kwargs)
        except RuntimeError:
            return None


MUTANTS = (
    StaleWeights,
    StaleScales,
    SameCallSkipped,
    EveryEighthCall,
    WorkspaceOfTheFirstCall,
    LeftoversOfALongerCall,
    ScalesInPlace,
    ScalesInPlaceAndBack,
    WholeTiles,
    WrongRowCleared,
    ReadsPastM,
    ReadsItsOutput,
    SumsUp,
    Dithered,
    Seeded,
    ResultOfACache,
    ResultIsInput,
    LeavesPrecision,
    SetsThreads,
    SetsTheEnvironment,
    LastRowFirst,
    AlignedOnly,
    IndicesOfTheLargestCall,
    SwallowsErrors,
)
