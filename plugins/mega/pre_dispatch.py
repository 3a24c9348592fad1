"""``mega_moe_pre_dispatch`` and ``_sm90``: tokens, quantised, and their routing into the slots of a mega MoE buffer.

The slots of the buffer that hold no token get expert -1 and weight 0, so that a launch writes all of them, and is due
for no token too. The kernel depends on the quantisation only.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve

from kregistry import (
    PDL,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Choice,
    EmptyInput,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    ShapeError,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls
from kregistry_plugins.fp8_gemm import scales

if TYPE_CHECKING:
    import torch

HIDDEN = Size("hidden", "columns of a token, 8192 at most; no effect on the kernel", "columns", multiple_of=128)
TOP_K = Size("top_k", "experts of a token; no effect on the kernel", "experts")
_GROUP_SIZE = Choice("group_size", "columns that share a scale factor", (32, 64, 128), unit="columns", default=32)
_ACTIVATIONS = Choice("activations", "dtype that tokens are quantised to", ("fp8", "fp4"), default="fp8")
#: One thread for 8 columns, 1024 at most (the asserts of sm100_mega_moe_pre_dispatch.hpp).
_MAX_HIDDEN = 8192
_COLUMNS_OF_A_THREAD = 8
#: The ``mma_type`` of DeepGEMM 0.2, by the dtype of tokens; the first is what is passed.
_MMA_TYPES: Mapping[str, tuple[str, ...]] = {"fp8": ("fp8xfp4", "fp8xfp8"), "fp4": ("mxf4xmxf4",)}


PRE_DISPATCH = Signature(
    "x, topk_idx, topk_weights, buf_x, buf_x_sf, buf_topk_idx, buf_topk_weights, num_tokens, group_size=32, "
    "mma_type='fp8xfp4', *others, **others_by_name"
)


class PreDispatch(KernelType):
    """Writes the first m slots of the buffer, and the routing of all of them."""

    settings = (PDL,)
    run_dimension = RunDimension("tokens", "tokens of one step on this rank", "rows")
    empty_input = EmptyInput.LAUNCH
    #: The smallest maximum of a group that its scale factor is made of (``fmaxf(local_max, ...)`` of the kernel).
    least: ClassVar[float] = scales.LEAST
    proof = Proof(kernel_depends_on_m=False, tolerance=1e-4)
    # The same arithmetic as the reference, but for a scale factor at the edge to the next power of two; and an element
    # between two FP8 numbers may be rounded the other way (seen on an H100: 1.13e-5).

    def check(self, shape: Shape) -> None:
        if shape.hidden > _MAX_HIDDEN:
            raise ShapeError(self.name, "hidden", f"{shape.hidden} is more than the {_MAX_HIDDEN} that DeepGEMM takes")
        most = shape.hidden // _COLUMNS_OF_A_THREAD
        if shape.top_k > most:
            raise ShapeError(self.name, "top_k", f"{shape.top_k} is more than the {most} of hidden = {shape.hidden}")

    def arguments(self, buffers: Buffers, m: int) -> Call:
        inputs = (buffers.x[:m], buffers.topk_idx[:m], buffers.topk_weights[:m])
        outputs = (buffers.buf_x, buffers.buf_x_sf, buffers.buf_topk_idx, buffers.buf_topk_weights)
        return Call((*inputs, *outputs, m))

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {
            "buf_x": buffers.buf_x[:m],
            "buf_x_sf": buffers.buf_x_sf[:m],
            "buf_topk_idx": buffers.buf_topk_idx,
            "buf_topk_weights": buffers.buf_topk_weights,
        }

    def untouched(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"buf_x": buffers.buf_x[m:], "buf_x_sf": buffers.buf_x_sf[m:]}

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        tokens = self.dequantized(buffers, m)
        return {"tokens": tokens, "topk_idx": buffers.buf_topk_idx, "topk_weights": buffers.buf_topk_weights}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.x[:m].normal_(generator=generator)
        buffers.topk_idx[:m].random_(0, 256, generator=generator)
        buffers.topk_weights[:m].uniform_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        indices = torch.full_like(buffers.buf_topk_idx, -1)
        indices[:m] = buffers.topk_idx[:m]
        weights = torch.zeros_like(buffers.buf_topk_weights)
        weights[:m] = buffers.topk_weights[:m]
        return {
            "tokens": self.rounded(buffers, m),
            "topk_idx": indices,
            "topk_weights": weights,
        }

    def dequantized(self, buffers: Buffers, m: int) -> torch.Tensor:
        """The float32 tokens that a launch has written."""
        return scales.dequantize(buffers.buf_x[:m], buffers.buf_x_sf[:m], self.group(buffers.shape))

    def rounded(self, buffers: Buffers, m: int) -> torch.Tensor:
        """The float32 tokens that a launch shall write."""
        import torch

        group = self.group(buffers.shape)
        data, scale_factors = torch.empty_like(buffers.buf_x[:m]), torch.empty_like(buffers.buf_x_sf[:m])
        scales.quantize_rows(buffers.x[:m], data, scale_factors, group, least=self.least)
        return scales.dequantize(data, scale_factors, group)

    @abstractmethod
    def group(self, shape: Shape) -> int:
        """Columns that share a scale factor."""

    @staticmethod
    def routing(shape: Shape, tokens: int) -> dict[str, BufferSpec]:
        return {
            "x": BufferSpec((tokens, shape.hidden), "bfloat16"),
            "topk_idx": BufferSpec((tokens, shape.top_k), "int32"),
            "topk_weights": BufferSpec((tokens, shape.top_k), "float32"),
            "buf_topk_idx": BufferSpec((tokens, shape.top_k), "int64", "output"),
            "buf_topk_weights": BufferSpec((tokens, shape.top_k), "float32", "output"),
        }


class MegaMoePreDispatch(PreDispatch):
    """UE8M0 scale factors, row-major, four to an int32: for the mega MoE of SM100. It launches on every arch."""

    name = "mega_moe_pre_dispatch"
    summary = "quantises tokens to FP8 or FP4 with UE8M0 scale factors into a mega MoE buffer (SM100)"
    dimensions = (HIDDEN, TOP_K, _GROUP_SIZE, _ACTIVATIONS)
    function_names = ("mega_moe_pre_dispatch",)
    signature = PRE_DISPATCH
    archs = (ArchSupport("sm90"), ArchSupport("sm100"), ArchSupport("sm120"))
    proof = evolve(
        PreDispatch.proof,
        examples=(
            {"hidden": 512, "top_k": 8},
            {"hidden": 256, "top_k": 3, "group_size": 64},
            {"hidden": 1024, "top_k": 6, "group_size": 128},
            {"hidden": 512, "top_k": 8, "activations": "fp4"},
        ),
    )

    def check(self, shape: Shape) -> None:
        super().check(shape)
        if shape.hidden % (4 * shape.group_size):
            text = f"expected a multiple of {4 * shape.group_size}, four scale factors, got {shape.hidden}"
            raise ShapeError(self.name, "hidden", text)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        fp4 = shape.activations == "fp4"
        data = BufferSpec((max_m, shape.hidden // 2), "int8", "output")
        return {
            **self.routing(shape, max_m),
            "buf_x": data if fp4 else BufferSpec((max_m, shape.hidden), "float8_e4m3fn", "output"),
            "buf_x_sf": BufferSpec((max_m, shape.hidden // shape.group_size // 4), "int32", "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        shape, call = buffers.shape, super().arguments(buffers, m)
        last = () if shape.activations == "fp8" else (_fp4_argument(),)
        return Call((*call.args, shape.group_size, *last))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        """Takes MXFP8 and MXFP4 calls; the tenth argument of DeepGEMM 0.1 is ``use_fp4_acts``."""
        mma_type = call.mma_type
        if mma_type is True or call.others_by_name.get("use_fp4_acts"):
            mma_type = _MMA_TYPES["fp4"][0]
        elif mma_type is False:
            mma_type = _MMA_TYPES["fp8"][0]
        calls.belongs(self.name, "mma_type", mma_type, [each for types in _MMA_TYPES.values() for each in types])
        return {
            "hidden": call.x.shape[1],
            "top_k": call.topk_idx.shape[1],
            "group_size": call.group_size,
            "activations": "fp4" if mma_type in _MMA_TYPES["fp4"] else "fp8",
        }

    def group(self, shape: Shape) -> int:
        return int(shape.group_size)


class MegaMoePreDispatchSm90(PreDispatch):
    """FP32 scale factors for 128 columns: for the mega MoE of SM90."""

    name = "mega_moe_pre_dispatch_sm90"
    summary = "quantises tokens to FP8 with FP32 scale factors into a mega MoE buffer (SM90)"
    dimensions = (HIDDEN, TOP_K)
    function_names = ("mega_moe_pre_dispatch_sm90",)
    signature = Signature("x, topk_idx, *args, **kwargs")
    without_effect: ClassVar[Mapping[str, tuple[str, ...]]] = {"routed_scaling_factor": ()}
    archs = (ArchSupport("sm90"),)
    proof = evolve(PreDispatch.proof, examples=({"hidden": 512, "top_k": 8}, {"hidden": 256, "top_k": 3}))
    least = 1e-10

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            **self.routing(shape, max_m),
            "buf_x": BufferSpec((max_m, shape.hidden), "float8_e4m3fn", "output"),
            "buf_x_sf": BufferSpec((max_m, shape.hidden // scales.GROUP), "float32", "output"),
        }

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"hidden": call.x.shape[1], "top_k": call.topk_idx.shape[1]}

    def group(self, shape: Shape) -> int:
        return scales.GROUP


@lru_cache(maxsize=1)
def _fp4_argument() -> str | bool:
    """What the tenth argument must be for FP4 tokens, in the DeepGEMM of this process."""
    try:
        import deep_gemm
    except ModuleNotFoundError:
        return _MMA_TYPES["fp4"][0]
    old = "use_fp4_acts" in inspect.signature(deep_gemm.mega_moe_pre_dispatch).parameters
    return True if old else _MMA_TYPES["fp4"][0]
