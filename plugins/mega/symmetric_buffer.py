"""The symmetric buffer of mega MoE: what a launch is given in place of DeepGEMM's own object, and what versions share.

Each rank has such a buffer, and writes into those of the others. DeepGEMM's ``SymmBuffer`` needs a process group to be
made, but a launch only reads a few attributes of it, so that one process can plan, and with one rank also launch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from kregistry import Flag, RunDimension, Shape, ShapeError, Size
from kregistry_plugins import installed
from kregistry_plugins.fp8_gemm.scales import align

if TYPE_CHECKING:
    import torch

NUM_RANKS = Size("num_ranks", "ranks of the expert-parallel group, 72 at most", "ranks", default=1)
NUM_EXPERTS = Size("num_experts", "experts of the layer, on all ranks together", "experts")
TOP_K = Size("top_k", "experts of a token", "experts")
MAX_TOKENS = Size(
    "max_tokens", "num_max_tokens_per_rank of the symmetric buffer, as it was rounded up", "rows", multiple_of=384
)
CLAMP = Size("activation_clamp", "bound of the gate and up projections; none: no bound", default=None, optional=True)
FAST_MATH = Flag("fast_math", "approximate exponentials in SwiGLU", default=True)
TOKENS = RunDimension("tokens", "tokens of this rank in one step; an idle rank's 0 has a kernel of its own", "rows")
_MAX_RANKS = 72


@frozen
class _Handle:
    buffer_ptrs: list[int]


@frozen
class _Group:
    ranks: int

    def size(self) -> int:
        return self.ranks

    def rank(self) -> int:
        return 0


@frozen
class SymmetricBuffer:
    """The attributes that DeepGEMM reads off its own ``SymmBuffer`` and ``SM90SymmBuffer`` in a launch."""

    buffer: torch.Tensor = field(repr=False)
    handle: _Handle
    group: _Group
    num_max_tokens_per_rank: int
    num_experts: int
    num_topk: int
    num_ring_tokens: int | None
    mma_type: str


@frozen
class Slot:
    """One tensor inside the buffer, contiguous: [rows, columns]."""

    offset: int
    rows: int
    columns: int
    dtype: str

    def view(self, buffer: torch.Tensor) -> torch.Tensor:
        """The slot as a view of an int8 buffer."""
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        nbytes = self.rows * self.columns * dtype.itemsize
        return buffer[self.offset : self.offset + nbytes].view(dtype).view(self.rows, self.columns)


def symmetric_buffer(
    shape: Shape, buffer: torch.Tensor, mma_type: str, num_ring_tokens: int | None = None
) -> SymmetricBuffer:
    """A buffer for a launch; the buffers of other ranks are this one again, which only a plan may do."""
    handle = _Handle([buffer.data_ptr()] * shape.num_ranks)
    group = _Group(shape.num_ranks)
    sizes = (shape.max_tokens, shape.num_experts, shape.top_k)
    return SymmetricBuffer(buffer, handle, group, *sizes, num_ring_tokens, mma_type)


def partners(shape: Shape) -> str | None:
    """Why one process cannot launch a shape alone."""
    return None if shape.num_ranks == 1 else f"{shape.num_ranks} ranks launch it together, and wait for each other"


def check_ranks(kernel_type: str, shape: Shape) -> None:
    """Refuse more ranks than DeepGEMM takes, and experts that cannot be shared out or are too few for a token.

    The buffer has room for one token at one expert once.
    """
    if shape.num_ranks > _MAX_RANKS:
        text = f"{shape.num_ranks} is more than the {_MAX_RANKS} that DeepGEMM takes"
        raise ShapeError(kernel_type, "num_ranks", text)
    if shape.num_experts % shape.num_ranks:
        text = f"expected a multiple of num_ranks = {shape.num_ranks}, got {shape.num_experts}"
        raise ShapeError(kernel_type, "num_experts", text)
    if shape.top_k > shape.num_experts:
        raise ShapeError(kernel_type, "top_k", f"{shape.top_k} is more than num_experts = {shape.num_experts}")


def clamp_of(kernel_type: str, activation_clamp: float | None) -> int | None:
    """The bound of a real call, a whole number in a manifest.

    Raises:
        ShapeError: it is none.
    """
    if activation_clamp is None or float(activation_clamp).is_integer():
        return None if activation_clamp is None else int(activation_clamp)
    raise ShapeError(kernel_type, "activation_clamp", f"expected a whole number, got {activation_clamp}")


def routing_of(kernel_type: str, sym_buffer: Any) -> dict[str, int]:
    """The dimensions that a real call's symmetric buffer tells."""
    return {
        "num_ranks": len(sym_buffer.handle.buffer_ptrs),
        "num_experts": sym_buffer.num_experts,
        "top_k": sym_buffer.num_topk,
        "max_tokens": sym_buffer.num_max_tokens_per_rank,
    }


def tile_heights() -> tuple[int, ...]:
    """Heights of the tiles that a kernel may have; pools are laid out for all of them.

    They differ between versions of DeepGEMM (``kCandidateBlockM`` of include/deep_gemm/layout/mega_moe.cuh).
    """
    common = (8, 16, 32, 64, 96, 128, 192)
    return common if installed.is_first_series() else (*common, 240)


def pool_tokens(shape: Shape) -> int:
    """Tokens that the experts of this rank may receive, each expert's rounded up to a tile."""
    experts = shape.num_experts // shape.num_ranks
    received = shape.num_ranks * shape.max_tokens * min(shape.top_k, experts)
    return align(received + experts * (max(tile_heights()) - 1), math.lcm(*tile_heights()))
