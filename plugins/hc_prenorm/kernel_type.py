"""``tf32_hc_prenorm_gemm``: d = a @ b.T in TF32, and the sum of squares of each row of a, in one pass over a.

With ``num_splits`` s, k is split into s parts. The outputs are then [s, m, n] and [s, m], which the caller sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from kregistry import (
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    ShapeError,
    Signature,
    Size,
    Value,
)
from kregistry_plugins.hc_prenorm.num_splits import POLICIES, ROWS

if TYPE_CHECKING:
    import torch

NUM_SPLITS = Size(
    "num_splits",
    "parts that k is split into, with one kernel per number; a name is a rule that depends on m",
    "parts",
    default=None,
    optional=True,
    policies=POLICIES,
)
#: Largest n that the kernel accepts (found on the stub GPU).
_MAX_N = {"sm90": 32}
_MAX_N_ELSEWHERE = 128


class Tf32HcPrenormGemm(KernelType):
    """The mixing GEMM of hyper-connections, fused with the sums of squares that its RMS norm needs."""

    name = "tf32_hc_prenorm_gemm"
    summary = "hyper-connection pre-norm GEMM (DeepSeek-V4), TF32, with row sums of squares"
    dimensions = (
        Size("n", "rows of fn: hc * (2 + hc), 24 for hc = 4", "columns", multiple_of=8),
        Size("k", "hc * hidden: 16384 for V4-Flash, 28672 for V4-Pro", "columns", multiple_of=64),
        NUM_SPLITS,
    )
    run_dimension = RunDimension("m", "tokens of one step", "rows")
    function_names = ("tf32_hc_prenorm_gemm",)
    signature = Signature("a, b, d, sqr_sum, num_splits=None")
    archs = (
        ArchSupport("sm90"),
        ArchSupport("sm100"),
        ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 asserts 'Unsupported architecture' (hyperconnection.hpp:56)"),
    )
    # The reference is in float32. TF32 cuts off the last 13 bits of b: in few rows of results that makes up to 1.6e-7,
    # computed on a CPU. DeepGEMM's own test, which compares with TF32, uses 1e-8.
    proof = Proof(
        tolerance=1e-6,
        kernel_depends_on_m=False,
        examples=(
            {"n": 24, "k": 512},
            {"n": 16, "k": 1088, "num_splits": 4},
            {"n": 24, "k": 2048, "num_splits": "occupancy"},
        ),
    )
    raises_on_empty = ""  # on empty input it asserts with num_splits (layout.hpp), and returns without
    passes_on = ">=0.1.4,<=0.2.3.post2"

    def check(self, shape: Shape) -> None:
        limit = _MAX_N.get(shape.target.arch, _MAX_N_ELSEWHERE)
        if shape.n > limit:
            raise ShapeError(self.name, "n", f"expected at most {limit} on {shape.target.arch}, got {shape.n}")

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        n, k = shape.n, shape.k
        rows = _most_split_rows(shape, max_m)
        return {
            "a": BufferSpec((max_m, k), "bfloat16"),
            "b": BufferSpec((n, k), "float32", "weight"),
            # Flat, because DeepGEMM needs [num_splits, m, n] without gaps, and num_splits may depend on m.
            "d": BufferSpec((rows * n,), "float32", "output"),
            "sqr_sum": BufferSpec((rows,), "float32", "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        outputs = self.outputs(buffers, m)
        splits = buffers.shape.at(NUM_SPLITS, m)
        return Call((buffers.a[:m], buffers.b, outputs["d"], outputs["sqr_sum"]), {"num_splits": splits})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        n, k = call.b.shape
        return {"n": n, "k": k, "num_splits": call.num_splits}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        n, splits = buffers.shape.n, buffers.shape.at(NUM_SPLITS, m)
        if splits is None:
            return {"d": buffers.d[: m * n].view(m, n), "sqr_sum": buffers.sqr_sum[:m]}
        rows = splits * m
        return {
            "d": buffers.d[: rows * n].view(splits, m, n),
            "sqr_sum": buffers.sqr_sum[:rows].view(splits, m),
        }

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        outputs = self.outputs(buffers, m)
        if buffers.shape.at(NUM_SPLITS, m) is None:
            return outputs
        return {name: part.sum(0) for name, part in outputs.items()}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a[:m].normal_(generator=generator)
        buffers.b.normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        a = buffers.a[:m].float()
        return {"d": a @ buffers.b.T, "sqr_sum": a.square().sum(-1)}


@lru_cache(maxsize=1024)
def _most_split_rows(shape: Shape, max_m: int) -> int:
    """Rows of the largest output at any m up to ``max_m``: m * num_splits is not monotonic in m under a policy."""
    if shape.num_splits not in POLICIES:
        return max_m * (shape.num_splits or 1)
    ends = (*range(ROWS, max_m, ROWS), max_m)
    return max((shape.at(NUM_SPLITS, m) or 1) * m for m in ends)
