"""The right kernel types that the wrong ones of this package change in one place each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kregistry import (
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    EmptyInput,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    Signature,
    Size,
    Value,
)

if TYPE_CHECKING:
    import torch

N, K = Size("n", "output columns"), Size("k", "input columns")
GROUPS = Size("num_groups", "experts")
PAGE = 4


def proof(*examples: Mapping[str, Value], tolerance: float = 1e-4, **others: Any) -> Proof:
    return Proof(devices=("cpu",), examples=examples, tolerance=tolerance, **others)


class OnCpu(KernelType):
    """A function in plain torch."""

    run_dimension = RunDimension("m", "rows", "rows")
    archs = (ArchSupport("sm90"),)
    own: Callable[..., Any]

    def function(self) -> Callable[..., Any]:
        return type(self).own


class ScaledGemm(OnCpu):
    name = "scaled_gemm"
    summary = "a GEMM with scale factors of blocks"
    dimensions = (N, K)
    function_names = ("scaled_gemm",)
    signature = Signature("a, b, d")
    proof = proof({"n": 96, "k": 128}, {"n": 40, "k": 72})

    @staticmethod
    def own(*args: Any, **kwargs: Any) -> Any:
        from independent.functions import scaled_gemm

        return scaled_gemm(*args, **kwargs)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        n, k = shape.n, shape.k
        rows, columns = -(-max_m // 4) * 4, -(-k // 32)
        return {
            "a": BufferSpec((max_m, k), "bfloat16"),
            "sfa": BufferSpec((max_m, columns), "float32", strides=(1, rows), storage=rows * columns),
            "b": BufferSpec((n, k), "bfloat16", "weight"),
            "sfb": BufferSpec((-(-n // 32), columns), "float32", "weight"),
            "d": BufferSpec((max_m, n), "bfloat16", "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call(((buffers.a[:m], buffers.sfa[:m]), (buffers.b, buffers.sfb), buffers.d[:m]))

    def read_m(self, a: Any, b: Any, d: torch.Tensor) -> int:
        rows: int = d.shape[0]
        return rows

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        n, k = call.b[0].shape
        return {"n": n, "k": k}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        for name in ("a", "b"):
            rows = getattr(buffers, name)[: m if name == "a" else None]
            rows.normal_(generator=generator)
        buffers.sfa[:m].uniform_(0.1, 2, generator=generator)
        buffers.sfb.uniform_(0.1, 2, generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        n, k = buffers.b.shape
        left = buffers.a[:m].double() * buffers.sfa[:m].double().repeat_interleave(32, 1)[:, :k]
        scales = buffers.sfb.double().repeat_interleave(32, 0)[:n].repeat_interleave(32, 1)[:, :k]
        return {"d": left @ (buffers.b.double() * scales).T}


class MaskedGemm(OnCpu):
    name = "masked_gemm"
    summary = "a GEMM of groups that are partly filled"
    dimensions = (N, K, GROUPS)
    function_names = ("masked_gemm",)
    signature = Signature("a, b, d, masked_m")
    proof = proof({"n": 24, "k": 32, "num_groups": 3}, {"n": 7, "k": 40, "num_groups": 5})

    @staticmethod
    def own(*args: Any, **kwargs: Any) -> Any:
        from independent.functions import masked_gemm

        return masked_gemm(*args, **kwargs)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        n, k, groups = shape.n, shape.k, shape.num_groups
        return {
            "a": BufferSpec((groups, max_m, k), "bfloat16"),
            "b": BufferSpec((groups, n, k), "bfloat16", "weight"),
            "masked_m": BufferSpec((groups,), "int32", initial=0),
            "d": BufferSpec((groups, max_m, n), "bfloat16", "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.a[:, :m], buffers.b, buffers.d[:, :m], buffers.masked_m))

    def read_m(self, a: Any, b: Any, d: torch.Tensor, masked_m: Any) -> int:
        rows: int = d.shape[1]
        return rows

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        groups, n, k = call.b.shape
        return {"n": n, "k": k, "num_groups": groups}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d[:, :m]}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a[:, :m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)
        buffers.masked_m.random_(0, m + 1, generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        d = buffers.a[:, :m].double() @ buffers.b.double().transpose(1, 2)
        valid = torch.arange(m, device=d.device) < buffers.masked_m[:, None]
        return {"d": d.where(valid[..., None], 0)}


class GroupedGemm(OnCpu):
    name = "grouped_gemm"
    summary = "a GEMM whose rows belong to groups"
    dimensions = (N, K, GROUPS)
    function_names = ("grouped_gemm",)
    signature = Signature("a, b, d, groups")
    proof = proof({"n": 24, "k": 32, "num_groups": 3}, {"n": 7, "k": 40, "num_groups": 5})

    @staticmethod
    def own(*args: Any, **kwargs: Any) -> Any:
        from independent.functions import grouped_gemm

        return grouped_gemm(*args, **kwargs)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "a": BufferSpec((max_m, shape.k), "bfloat16"),
            "b": BufferSpec((shape.num_groups, shape.n, shape.k), "bfloat16", "weight"),
            "groups": BufferSpec((max_m,), "int32", initial=0),
            "d": BufferSpec((max_m, shape.n), "bfloat16", "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.a[:m], buffers.b, buffers.d[:m], buffers.groups[:m]))

    def read_m(self, a: Any, b: Any, d: torch.Tensor, groups: Any) -> int:
        rows: int = d.shape[0]
        return rows

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        groups, n, k = call.b.shape
        return {"n": n, "k": k, "num_groups": groups}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a[:m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)
        buffers.groups[:m].random_(-1, buffers.shape.num_groups, generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        chosen = buffers.groups[:m].long()
        weights = buffers.b.double()[chosen.clamp(0)]
        d = (weights @ buffers.a[:m].double().unsqueeze(2)).squeeze(2)
        return {"d": d.where((chosen >= 0)[:, None], 0)}


class KGroupedGemm(OnCpu):
    name = "k_grouped_gemm"
    summary = "the gradient of grouped weights, added to what is there"
    dimensions = (N, K, GROUPS)
    run_dimension = RunDimension("m", "rows of all groups", "rows")
    function_names = ("k_grouped_gemm",)
    signature = Signature("a, b, d, sizes")
    proof = proof({"n": 24, "k": 32, "num_groups": 3}, {"n": 7, "k": 40, "num_groups": 5})

    @staticmethod
    def own(*args: Any, **kwargs: Any) -> Any:
        from independent.functions import k_grouped_gemm

        return k_grouped_gemm(*args, **kwargs)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        n, k, groups = shape.n, shape.k, shape.num_groups
        return {
            "a": BufferSpec((max_m, n), "bfloat16"),
            "b": BufferSpec((max_m, k), "bfloat16"),
            "sizes": BufferSpec((groups,), "int32", initial=0),
            "d": BufferSpec((groups, n, k), "float32", "output", accumulated=True),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.a[:m], buffers.b[:m], buffers.d, buffers.sizes))

    def read_m(self, a: torch.Tensor, b: Any, d: Any, sizes: Any) -> int:
        rows: int = a.shape[0]
        return rows

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        groups, n, k = call.d.shape
        return {"n": n, "k": k, "num_groups": groups}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        for tensor in (buffers.a[:m], buffers.b[:m], buffers.d):
            tensor.normal_(generator=generator)
        groups = buffers.shape.num_groups
        chosen = torch.randint(0, groups, (m,), generator=generator, device=buffers.a.device)
        buffers.sizes.copy_(torch.bincount(chosen, minlength=groups))

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        ends = buffers.sizes.long().cumsum(0)
        rows = torch.arange(m, device=ends.device)[:, None]
        member = ((rows < ends) & (rows >= ends - buffers.sizes)).double()
        return {"d": buffers.d + torch.einsum("mg,mn,mk->gnk", member, buffers.a[:m].double(), buffers.b[:m].double())}


class Quantize(OnCpu):
    name = "quantize_rows"
    summary = "rows as int8, and their scale factors; both are allocated by the function"
    dimensions = (N,)
    function_names = ("quantize",)
    signature = Signature("x")
    proof = proof({"n": 40}, {"n": 7}, tolerance=1e-3)

    @staticmethod
    def own(*args: Any, **kwargs: Any) -> Any:
        from independent.functions import quantize

        return quantize(*args, **kwargs)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {"x": BufferSpec((max_m, shape.n), "bfloat16")}

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.x[:m],))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.x.shape[1]}

    def empty_result(self, call: Arguments) -> Any:
        import torch

        n, device = call.x.shape[1], call.x.device
        return torch.empty((0, n), dtype=torch.int8, device=device), torch.empty((0,), device=device)

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.x[:m].normal_(generator=generator)

    def returned(self, value: Any, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"values": value[0], "scales": value[1]}

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        return max_m * (shape.n + 4) + 2048

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        x = buffers.x[:m].double()
        scales = x.abs().amax(1).clamp(1e-6) / 127
        return {"values": (x / scales[:, None]).round(), "scales": scales}


class PagedScores(OnCpu):
    name = "paged_scores"
    summary = "scores of each row against the tokens of its pages"
    dimensions = (K, Size("max_pages", "pages of a row"))
    function_names = ("paged_scores",)
    signature = Signature("q, cache, pages, lengths, scores")
    proof = proof({"k": 16, "max_pages": 5}, {"k": 24, "max_pages": 3})

    @staticmethod
    def own(*args: Any, **kwargs: Any) -> Any:
        from independent.functions import paged_scores

        return paged_scores(*args, **kwargs)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        columns = shape.max_pages * PAGE
        return {
            "q": BufferSpec((max_m, shape.k), "bfloat16"),
            "cache": BufferSpec((32, PAGE, shape.k), "bfloat16", "weight"),
            "pages": BufferSpec((max_m, shape.max_pages), "int32", initial=0),
            "lengths": BufferSpec((max_m,), "int32", initial=1),
            "scores": BufferSpec((max_m, columns), "float32", "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        rows = [buffers.tensors[name][:m] for name in ("pages", "lengths", "scores")]
        return Call((buffers.q[:m], buffers.cache, *rows))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"k": call.q.shape[1], "max_pages": call.pages.shape[1]}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.q[:m].normal_(generator=generator)
        buffers.cache.normal_(generator=generator)
        buffers.pages[:m].random_(0, 32, generator=generator)
        buffers.lengths[:m].random_(0, buffers.scores.shape[1] + 1, generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        columns = torch.arange(buffers.scores.shape[1], device=buffers.q.device)
        page = buffers.pages[:m, columns // PAGE].long()
        tokens = buffers.cache.double()[page, columns % PAGE]
        dots = (tokens * buffers.q[:m].double()[:, None]).sum(2)
        return {"scores": dots * (columns < buffers.lengths[:m, None])}


def more_parts_for_few_rows(shape: Shape, m: int) -> int:
    return 4 if m < 64 else 2


SPLITS = Size("num_splits", "parts", default=1, policies={"by_rows": more_parts_for_few_rows})


class SplitGemm(OnCpu):
    name = "split_gemm"
    summary = "a GEMM in parts, which the caller adds up"
    dimensions = (N, K, SPLITS)
    function_names = ("split_gemm",)
    signature = Signature("a, b, parts")
    proof = proof({"n": 24, "k": 32, "num_splits": 2}, {"n": 7, "k": 40, "num_splits": "by_rows"})

    @staticmethod
    def own(*args: Any, **kwargs: Any) -> Any:
        from independent.functions import split_gemm

        return split_gemm(*args, **kwargs)

    def most_splits(self, shape: Shape) -> int:
        return max(shape.at(SPLITS, m) or 1 for m in (1, 64))

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        parts = (self.most_splits(shape) * max_m, shape.n)
        return {
            "a": BufferSpec((max_m, shape.k), "bfloat16"),
            "b": BufferSpec((shape.n, shape.k), "bfloat16", "weight"),
            "parts": BufferSpec(parts, "float32", "output"),
        }

    def parts(self, buffers: Buffers, m: int) -> torch.Tensor:
        count = buffers.shape.at(SPLITS, m) or 1
        return buffers.parts[: count * m].view(count, m, buffers.shape.n)

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.a[:m], buffers.b, self.parts(buffers, m)))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.b.shape[0], "k": call.b.shape[1], "num_splits": call.parts.shape[0]}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"parts": self.parts(buffers, m)}

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": self.parts(buffers, m).sum(0)}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a[:m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m].double() @ buffers.b.double().T}


class ColumnSums(OnCpu):
    """An empty input must write zeros: the output does not shrink with the input."""

    name = "column_sums"
    summary = "sums of the columns, in which later rows count more"
    dimensions = (N,)
    function_names = ("column_sums",)
    signature = Signature("x, d")
    empty_input = EmptyInput.ZERO_OUTPUTS
    proof = proof({"n": 40}, {"n": 7})

    @staticmethod
    def own(x: torch.Tensor, d: torch.Tensor) -> None:
        import torch

        weights = torch.arange(1, x.shape[0] + 1, device=x.device).float()
        d.copy_(weights @ x.float())

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {"x": BufferSpec((max_m, shape.n), "bfloat16"), "d": BufferSpec((shape.n,), "float32", "output")}

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.x[:m], buffers.d))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.x.shape[1]}

    def empty_result(self, call: Arguments) -> Any:
        call.d.zero_()

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.x[:m].normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        return {"d": sum(rank * row for rank, row in enumerate(buffers.x[:m].double(), 1)) + torch.zeros(1)}


RIGHT = (ScaledGemm, MaskedGemm, GroupedGemm, KGroupedGemm, Quantize, PagedScores, SplitGemm, ColumnSums)
