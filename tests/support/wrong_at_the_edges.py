"""Wrong kernel types, written from docs/ alone by someone who had seen neither the rules nor the other mutants."""

from __future__ import annotations

from typing import Any

from kregistry import (
    BF16_GEMM_SETTINGS,
    ArchSupport,
    BufferSpec,
    Call,
    Choice,
    Gemm,
    KernelType,
    Proof,
    RunDimension,
    Signature,
    Size,
)

N, K = Size("n", "columns", "columns"), Size("k", "inner", "columns")


class OnCpu(KernelType):
    """A function in plain torch."""

    run_dimension = RunDimension("m", "rows", "rows")
    archs = (ArchSupport("sm90"),)
    own: Any

    def function(self) -> Any:
        return self.own


# ---- a dense GEMM with row scales on a CPU --------------------------------------------------------------------------
def scaled(a: Any, scale: Any, b: Any, d: Any) -> Any:
    d.copy_((a.float() * scale[:, None]) @ b.float().T)


class Scaled(OnCpu):
    name = "scaled"
    summary = "GEMM with a scale for each row"
    dimensions = (N, K)
    function_names = ("scaled",)
    signature = Signature("a, scale, b, d")
    proof = Proof(devices=("cpu",), examples=({"n": 24, "k": 40}, {"n": 7, "k": 16}))

    def buffers(self, shape: Any, max_m: int) -> Any:
        return {
            "a": BufferSpec((max_m, shape.k), "bfloat16"),
            "scale": BufferSpec((max_m,), "float32"),
            "b": BufferSpec((shape.n, shape.k), "bfloat16", "weight"),
            "d": BufferSpec((max_m, shape.n), "float32", "output"),
        }

    own = staticmethod(scaled)

    def arguments(self, buffers: Any, m: int) -> Call:
        return Call((buffers.a[:m], buffers.scale[:m], buffers.b, buffers.d[:m]))

    def shape_of(self, call: Any) -> Any:
        return {"n": call.b.shape[0], "k": call.b.shape[1]}

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        buffers.a[:m].normal_(generator=generator)
        buffers.scale[:m].uniform_(0.5, 2, generator=generator)
        buffers.b.normal_(generator=generator)

    def reference(self, buffers: Any, m: int) -> Any:
        return {"d": (buffers.a[:m].double() * buffers.scale[:m, None].double()) @ buffers.b.double().T}


# 1: sums of long rows are kept in BF16 after each 1,024 columns
def scaled_in_chunks(a: Any, scale: Any, b: Any, d: Any) -> Any:
    total = d.new_zeros(d.shape)
    for start in range(0, a.shape[1], 1024):
        total += (a[:, start : start + 1024].float() * scale[:, None]) @ b[:, start : start + 1024].float().T
        if start >= 1024:
            total = (total / 32).round() * 32
    d.copy_(total)


class LongRowsLosePrecision(Scaled):
    name = "long_rows"

    own = staticmethod(scaled_in_chunks)


# 2: reads the storage of `a` from its beginning, whatever the offset of the view
def scaled_from_start(a: Any, scale: Any, b: Any, d: Any) -> Any:
    view = a.as_strided(a.shape, a.stride(), 0)
    d.copy_((view.float() * scale[:, None]) @ b.float().T)


class IgnoresOffset(Scaled):
    name = "offset"

    own = staticmethod(scaled_from_start)


# 3: prepares the weight once for each tensor, and keeps it
_PREPARED: dict[Any, Any] = {}


def scaled_with_prepared(a: Any, scale: Any, b: Any, d: Any) -> Any:
    key = (b.data_ptr(), tuple(b.shape))
    if key not in _PREPARED:
        _PREPARED[key] = b.float().T.contiguous()
    d.copy_((a.float() * scale[:, None]) @ _PREPARED[key])


class KeepsWeight(Scaled):
    name = "keeps_weight"

    own = staticmethod(scaled_with_prepared)


# 4: one scratch tensor for all threads
_SCRATCH: list[Any] = []


def scaled_with_scratch(a: Any, scale: Any, b: Any, d: Any) -> Any:
    rows, k = a.shape
    if not _SCRATCH:
        _SCRATCH.append(a.new_empty(1 << 22).float())
    if rows * k > len(_SCRATCH[0]):
        return scaled(a, scale, b, d)
    scratch = _SCRATCH[0][: rows * k].view(rows, k)
    scratch.copy_(a)
    scratch *= scale[:, None]
    d.copy_(scratch @ b.float().T)


class SharesScratch(Scaled):
    name = "scratch"

    own = staticmethod(scaled_with_scratch)


# 5: right for one and two rows only, and says that only these are launched
def scaled_two_rows(a: Any, scale: Any, b: Any, d: Any) -> Any:
    d.zero_()
    d[:2] = (a[:2].float() * scale[:2, None]) @ b.float().T


class OnlyTwoRows(Scaled):
    name = "two_rows"
    proof = Proof(devices=("cpu",), examples=Scaled.proof.examples, start=1, stop=2)

    own = staticmethod(scaled_two_rows)


# 6: refuses what it gets wrong
def scaled_64(a: Any, scale: Any, b: Any, d: Any) -> Any:
    d.copy_((a.float() * scale[:, None]) @ b.float().T)
    d[64:] = 0


class RefusesMost(Scaled):
    name = "refuses"

    own = staticmethod(scaled_64)

    def refusal(self, shape: Any, m: int) -> str | None:
        return "more rows are not supported" if m > 64 else None


# 7: an activation that no example has
def activated(a: Any, scale: Any, b: Any, d: Any, activation: Any = "none") -> Any:
    d.copy_((a.float() * scale[:, None]) @ b.float().T)


class NoExampleOfChoice(Scaled):
    name = "activation"
    dimensions = (*Scaled.dimensions, Choice("activation", "what follows", ("none", "relu"), default="none"))
    signature = Signature("a, scale, b, d, activation='none'")

    own = staticmethod(activated)

    def arguments(self, buffers: Any, m: int) -> Call:
        call = super().arguments(buffers, m)
        return Call(call.args, {"activation": buffers.shape.activation})

    def shape_of(self, call: Any) -> Any:
        return {**super().shape_of(call), "activation": call.activation}

    def reference(self, buffers: Any, m: int) -> Any:
        d = super().reference(buffers, m)["d"]
        return {"d": d.relu() if buffers.shape.activation == "relu" else d}


# 8: softmax without the maximum, and an exponent of 0
def soft(a: Any, d: Any) -> Any:
    e = a.float().exp()
    d.copy_(e / e.sum(-1, keepdim=True))


class NoMaximum(OnCpu):
    name = "softmax"
    summary = "softmax of rows"
    dimensions = (Size("n", "columns", "columns"),)
    function_names = ("soft",)
    signature = Signature("a, d")
    proof = Proof(
        devices=("cpu",), examples=({"n": 24}, {"n": 7}), input_exponent=0, input_reason="exponentials saturate"
    )

    def buffers(self, shape: Any, max_m: int) -> Any:
        return {
            "a": BufferSpec((max_m, shape.n), "float32"),
            "d": BufferSpec((max_m, shape.n), "float32", "output"),
        }

    own = staticmethod(soft)

    def arguments(self, buffers: Any, m: int) -> Call:
        return Call((buffers.a[:m], buffers.d[:m]))

    def shape_of(self, call: Any) -> Any:
        return {"n": call.a.shape[1]}

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        buffers.a[:m].normal_(generator=generator)

    def reference(self, buffers: Any, m: int) -> Any:
        return {"d": buffers.a[:m].double().softmax(-1)}


# ---- masked groups on a CPU -----------------------------------------------------------------------------------------
def masked(a: Any, b: Any, d: Any, counts: Any, expected_m: Any) -> Any:
    """d[g] = a[g] @ b[g].T for the first counts[g] rows, and zeros after them."""
    d.zero_()
    for group, count in enumerate(counts.tolist()):
        d[group, :count] = a[group, :count].float() @ b[group].float().T


class Masked(OnCpu):
    """Groups of m rows, of which the first counts[g] hold tokens."""

    name = "masked"
    summary = "GEMM of groups with counts"
    dimensions = (N, K, Size("groups", "experts", "groups"))
    function_names = ("masked",)
    signature = Signature("a, b, d, counts, expected_m")
    proof = Proof(devices=("cpu",), examples=({"n": 24, "k": 40, "groups": 3}, {"n": 7, "k": 16, "groups": 2}))
    own = staticmethod(masked)

    def buffers(self, shape: Any, max_m: int) -> Any:
        return {
            "a": BufferSpec((shape.groups, max_m, shape.k), "bfloat16"),
            "b": BufferSpec((shape.groups, shape.n, shape.k), "bfloat16", "weight"),
            "d": BufferSpec((shape.groups, max_m, shape.n), "float32", "output"),
            "counts": BufferSpec((shape.groups,), "int32", initial=1),
        }

    def arguments(self, buffers: Any, m: int) -> Call:
        return Call((buffers.a[:, :m], buffers.b, buffers.d[:, :m], buffers.counts, m))

    def read_m(self, a: Any, b: Any, d: Any, counts: Any, expected_m: Any) -> Any:
        return d.shape[1]

    def shape_of(self, call: Any) -> Any:
        groups, n, k = call.b.shape
        return {"n": n, "k": k, "groups": groups}

    def outputs(self, buffers: Any, m: int) -> Any:
        return {"d": buffers.d[:, :m]}

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        buffers.a[:, :m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)
        buffers.counts.random_(0, m + 1, generator=generator)

    def reference(self, buffers: Any, m: int) -> Any:
        import torch

        kept = torch.arange(m) < buffers.counts[:, None]
        product = torch.einsum("gmk,gnk->gmn", buffers.a[:, :m].double(), buffers.b.double())
        return {"d": torch.where(kept[..., None], product, 0)}


# 9: a full group loses its last row; fill() never fills a group
def masked_not_full(a: Any, b: Any, d: Any, counts: Any, expected_m: Any) -> Any:
    masked(a, b, d, counts, expected_m)
    for group, count in enumerate(counts.tolist()):
        if count == d.shape[1] and count > 1:
            d[group, count - 1] = 0


class NeverFull(Masked):
    name = "never_full"

    own = staticmethod(masked_not_full)

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        super().fill(buffers, m, generator)
        buffers.counts.random_(0, max(m, 2), generator=generator)


# 10: an empty group still computes its first row; fill() gives each group a row at least
def masked_never_empty(a: Any, b: Any, d: Any, counts: Any, expected_m: Any) -> Any:
    masked(a, b, d, counts.clamp(min=1), expected_m)


class NeverEmpty(Masked):
    name = "never_empty"

    own = staticmethod(masked_never_empty)

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        super().fill(buffers, m, generator)
        buffers.counts.random_(1, m + 1, generator=generator)


# 11: all groups have the same weights, and the launch uses those of the first
def masked_first(a: Any, b: Any, d: Any, counts: Any, expected_m: Any) -> Any:
    masked(a, b[:1].expand_as(b), d, counts, expected_m)


class SameWeights(Masked):
    name = "same_weights"

    own = staticmethod(masked_first)

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        super().fill(buffers, m, generator)
        buffers.b.copy_(buffers.b[:1].clone().expand_as(buffers.b))


# 12: writes groups one behind the other, as if the buffers held m rows of each
def masked_flat(a: Any, b: Any, d: Any, counts: Any, expected_m: Any) -> Any:
    scratch = d.new_zeros(d.shape)
    masked(a, b, scratch, counts, expected_m)
    groups, rows, n = d.shape
    d.as_strided((groups, rows, n), (rows * n, n, 1), d.storage_offset()).copy_(scratch)


class FlatGroups(Masked):
    name = "flat"

    own = staticmethod(masked_flat)


# ---- gather on a CPU ------------------------------------------------------------------------------------------------
def gather(table: Any, index: Any, d: Any) -> Any:
    d.copy_(table[index.long()])


class Gather(OnCpu):
    name = "gather"
    summary = "rows of a table"
    dimensions = (Size("n", "columns", "columns"), Size("rows", "rows of the table", "rows"))
    function_names = ("gather",)
    signature = Signature("table, index, d")
    proof = Proof(devices=("cpu",), examples=({"n": 24, "rows": 40}, {"n": 7, "rows": 300}))

    def buffers(self, shape: Any, max_m: int) -> Any:
        return {
            "table": BufferSpec((shape.rows, shape.n), "bfloat16", "weight"),
            "index": BufferSpec((max_m,), "int32", initial=0),
            "d": BufferSpec((max_m, shape.n), "bfloat16", "output"),
        }

    own = staticmethod(gather)

    def arguments(self, buffers: Any, m: int) -> Call:
        return Call((buffers.table, buffers.index[:m], buffers.d[:m]))

    def read_m(self, table: Any, index: Any, d: Any) -> Any:
        return d.shape[0]

    def shape_of(self, call: Any) -> Any:
        return {"n": call.table.shape[1], "rows": call.table.shape[0]}

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        buffers.table.normal_(generator=generator)
        buffers.index[:m].random_(0, buffers.shape.rows, generator=generator)

    def reference(self, buffers: Any, m: int) -> Any:
        return {"d": buffers.table.double()[buffers.index[:m].long()]}


# 13: takes the indices for sorted; fill() sorts them
def gather_sorted(table: Any, index: Any, d: Any) -> Any:
    d.copy_(table[index.long().sort().values])


class OnlySorted(Gather):
    name = "sorted"

    own = staticmethod(gather_sorted)

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        super().fill(buffers, m, generator)
        buffers.index[:m] = buffers.index[:m].sort().values


# 14: an index of 16 bits
def gather_16(table: Any, index: Any, d: Any) -> Any:
    d.copy_(table[index.short().long()])


class ShortIndex(Gather):
    name = "short_index"

    own = staticmethod(gather_16)


# ---- a function that returns its result -----------------------------------------------------------------------------
def fresh(a: Any, b: Any) -> Any:
    return a.float() @ b.float().T


class Fresh(OnCpu):
    name = "fresh"
    summary = "GEMM that returns its result"
    dimensions = (N, K)
    function_names = ("fresh",)
    signature = Signature("a, b")
    proof = Proof(devices=("cpu",), examples=({"n": 24, "k": 40}, {"n": 7, "k": 16}))

    def buffers(self, shape: Any, max_m: int) -> Any:
        return {
            "a": BufferSpec((max_m, shape.k), "bfloat16"),
            "b": BufferSpec((shape.n, shape.k), "bfloat16", "weight"),
        }

    def workspace_requirement(self, shape: Any, max_m: int) -> int:
        return 8 * max_m * shape.n + 4 * (max_m + shape.n) * shape.k

    own = staticmethod(fresh)

    def arguments(self, buffers: Any, m: int) -> Call:
        return Call((buffers.a[:m], buffers.b))

    def shape_of(self, call: Any) -> Any:
        return {"n": call.b.shape[0], "k": call.b.shape[1]}

    def fill(self, buffers: Any, m: int, generator: Any) -> None:
        buffers.a[:m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)

    def returned(self, value: Any, buffers: Any, m: int) -> Any:
        return {"d": value}

    def empty_result(self, call: Any) -> Any:
        return call.a.new_empty((0, call.b.shape[0])).float()

    def reference(self, buffers: Any, m: int) -> Any:
        return {"d": buffers.a[:m].double() @ buffers.b.double().T}


# 15: results of two calls take turns in two tensors
_TURNS: dict[Any, Any] = {}


def fresh_in_turns(a: Any, b: Any) -> Any:
    key = (a.shape[0], b.shape[0])
    pair = _TURNS.setdefault(key, [a.new_empty(key).float() for _ in range(2)])
    pair.reverse()
    pair[0].copy_(a.float() @ b.float().T)
    return pair[0]


class TakesTurns(Fresh):
    name = "turns"

    own = staticmethod(fresh_in_turns)


# ---- DeepGEMM's own BF16 GEMM, on the stub --------------------------------------------------------------------------
class Dense(Gemm):
    name = "dense"
    summary = "dense BF16 GEMM"
    dimensions = (Size("n", "output columns", multiple_of=8), Size("k", "input columns", multiple_of=8))
    settings = BF16_GEMM_SETTINGS
    function_names = ("bf16_gemm_nt",)
    archs = (ArchSupport("sm90"), ArchSupport("sm100"))
    proof = Proof(examples=({"n": 256, "k": 512}, {"n": 40, "k": 72}))

    def buffers(self, shape: Any, max_m: int) -> Any:
        a, b = BufferSpec((max_m, shape.k), "bfloat16"), BufferSpec((shape.n, shape.k), "bfloat16", "weight")
        return {"a": a, "b": b, "d": BufferSpec((max_m, shape.n), "bfloat16", "output")}

    def workspace_requirement(self, shape: Any, max_m: int) -> int:
        return 0 if shape.deterministic else 16 << 20

    def reference(self, buffers: Any, m: int) -> Any:
        return {"d": buffers.a[:m].float() @ buffers.b.float().T}


# 16: says that DeepGEMM takes 100 rows at most
class FalseLimit(Dense):
    name = "limit"

    def largest_m(self, shape: Any) -> int | None:
        return 100


# 17: plans only every 64th value, and engines call with any
class CoarseStep(Dense):
    name = "coarse"
    run_dimension = RunDimension("m", "tokens of one step", "rows", start=64, step=64)


# 18: asks for 30 GiB
class TooMuchWorkspace(Dense):
    name = "workspace"

    def workspace_requirement(self, shape: Any, max_m: int) -> int:
        return 30 << 30


# 19: linear, except for one value
class NotLinear(Dense):
    name = "not_linear"

    def linear_arguments(self, shape: Any) -> bool:
        return True

    def arguments(self, buffers: Any, m: int) -> Call:
        if m == 150:
            return Call((buffers.a[:m], buffers.b, buffers.d[:m], buffers.d[:m]))
        return super().arguments(buffers, m)


# 20: launches twice (the second call is without effect)
class LaunchesTwice(Dense):
    name = "twice"

    def launch(self, *args: Any, **kwargs: Any) -> Any:
        super().launch(*args, **kwargs)
        return super().launch(*args, **kwargs)


# 21: makes its inputs contiguous: copies that a server does not make
class Copies(Dense):
    name = "copies"

    def arguments(self, buffers: Any, m: int) -> Call:
        return Call((buffers.a[:m].clone(), buffers.b, buffers.d[:m]))


RIGHT = (Scaled, Masked, Gather, Fresh, Dense)
MUTANTS = (
    LongRowsLosePrecision,
    IgnoresOffset,
    KeepsWeight,
    SharesScratch,
    OnlyTwoRows,
    RefusesMost,
    NoExampleOfChoice,
    NoMaximum,
    NeverFull,
    NeverEmpty,
    SameWeights,
    FlatGroups,
    OnlySorted,
    ShortIndex,
    TakesTurns,
    FalseLimit,
    CoarseStep,
    TooMuchWorkspace,
    NotLinear,
    LaunchesTwice,
    Copies,
)
#: Name -> why no kit can tell.
SURVIVORS = {
    "NeverFull": "an author may promise that no group is full",
}
