"""``mega_moe_pre_dispatch`` to NVFP4: a function of pre_dispatch.py, with another output more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve

from kregistry import ArchSupport, Arguments, Buffers, BufferSpec, Call, Shape, Value
from kregistry_plugins import calls
from kregistry_plugins.mega import nvfp4
from kregistry_plugins.mega.pre_dispatch import HIDDEN, PRE_DISPATCH, TOP_K, PreDispatch

if TYPE_CHECKING:
    import torch

_MMA_TYPE = "nvfp4xnvfp4"
_OLD = "DeepGEMM 0.1 quantises tokens to FP8 and MXFP4 only"


class MegaMoePreDispatchNvfp4(PreDispatch):
    """UE4M3 scale factors for 16 columns, row-major, four to an int32, and one in FP32 for each token as a whole.

    A call may give ``expert_scales`` [num_experts], which ``topk_weights`` are multiplied by: the kernel is the same.
    """

    name = "mega_moe_pre_dispatch_nvfp4"
    summary = "quantises tokens to NVFP4, each with a scale factor as a whole, into a mega MoE buffer (SM100)"
    dimensions = (HIDDEN, TOP_K)
    function_names = ("mega_moe_pre_dispatch",)
    signature = PRE_DISPATCH
    archs = tuple(ArchSupport(arch, ">=0.2", _OLD) for arch in ("sm90", "sm100", "sm120"))
    proof = evolve(PreDispatch.proof, examples=({"hidden": 512, "top_k": 8}, {"hidden": 384, "top_k": 3}))

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            **self.routing(shape, max_m),
            "buf_x": BufferSpec((max_m, shape.hidden // 2), "int8", "output"),
            "buf_x_sf": BufferSpec((max_m, shape.hidden // nvfp4.GROUP // 4), "int32", "output"),
            "buf_x_scales": BufferSpec((max_m,), "float32", "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        return Call((*call.args, nvfp4.GROUP, _MMA_TYPE, buffers.buf_x_scales))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        calls.belongs(self.name, "mma_type", call.mma_type, (_MMA_TYPE,))
        calls.belongs(self.name, "group_size", call.group_size, (nvfp4.GROUP,))
        further = [each for each in (*call.others, *call.others_by_name.values()) if each is not None]
        calls.belongs(self.name, "arguments after mma_type", len(further), (1,))  # buf_x_scales
        return {"hidden": call.x.shape[1], "top_k": call.topk_idx.shape[1]}

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {**super().outputs(buffers, m), "buf_x_scales": buffers.buf_x_scales[:m]}

    def untouched(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {**super().untouched(buffers, m), "buf_x_scales": buffers.buf_x_scales[m:]}

    def dequantized(self, buffers: Buffers, m: int) -> torch.Tensor:
        tokens = nvfp4.dequantize(buffers.buf_x[:m], buffers.buf_x_sf[:m])
        return tokens * buffers.buf_x_scales[:m].unsqueeze(-1)

    def rounded(self, buffers: Buffers, m: int) -> torch.Tensor:
        import torch

        x = buffers.x[:m].float()
        scale = nvfp4.outer_scale(x)
        data, scale_factors = torch.empty_like(buffers.buf_x[:m]), torch.empty_like(buffers.buf_x_sf[:m])
        nvfp4.quantize(x / scale, data, scale_factors)
        return nvfp4.dequantize(data, scale_factors) * scale

    def group(self, shape: Shape) -> int:
        return nvfp4.GROUP
