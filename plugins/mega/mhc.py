"""``mega_mhc``: all that is between two sublayers of a model with hyper-connections (mHC), in one launch.

With x [m, hidden] what the last sublayer gave and r [m, 4, hidden] the residual streams:

* the new streams are ``post_mix[j] * x + sum over i of comb_res_mix[i, j] * r[i]``, rounded to BF16;
* ``fn`` times the new streams, scaled by their RMS, gives the mixing coefficients of the next step: ``prev`` and
  ``post`` through a sigmoid, ``comb`` through Sinkhorn's normalisation;
* y is the RMS norm of the streams summed with weights: the new ``prev``, or, shifted, those of the last step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from kregistry import (
    DETERMINISTIC,
    NUM_SMS,
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Flag,
    KernelType,
    Proof,
    RunDimension,
    Shape,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls
from kregistry_plugins.fp8_gemm import scales

if TYPE_CHECKING:
    import torch

_STREAMS = 4
#: Rows of ``fn``: prev, post, and comb for each pair of streams.
_MIXES = 2 * _STREAMS + _STREAMS**2
_EPS = 1e-6
_POST_SCALE = 2.0
_SINKHORN_ITERATIONS = 20
_SCALE_GROUP = 32

# What DeepGEMM allocates (measured on the stub GPU, DeepGEMM 0.2.3): partial sums of 64 tokens for each part of k, at
# least 16 parts and no more than there are SMs, and once in a process the barriers.
_TOKENS_OF_A_BLOCK = 64
_BYTES_OF_A_PART = _TOKENS_OF_A_BLOCK * (_MIXES + 2) * 4
_LEAST_PARTS = 16
_BARRIER_BYTES = 4 << 20


class MegaMhc(KernelType):
    """Claims the calls with BF16 output, and FP8 output besides where asked for."""

    name = "mega_mhc"
    summary = "hyper-connection update, mixing coefficients and RMS norm in one launch (SM100)"
    dimensions = (
        Size("hidden", "columns of a token", "columns", multiple_of=1024),
        Flag("shifted", "y is made with the coefficients of the last step", default=True),
        Flag("fp8_output", "y is also given in FP8, with UE8M0 scale factors for 32 columns", default=False),
    )
    settings = (DETERMINISTIC, NUM_SMS)
    run_dimension = RunDimension("tokens", "tokens of one step", "rows")
    function_names = ("mega_mhc",)
    signature = Signature(
        "x, residual, shifted_prev_mix, post_mix, comb_res_mix, fn, mix_scales, mix_bases, hc_mult, "
        "hc_norm_eps, hc_pre_eps, hc_post_scale, sinkhorn_eps, num_sinkhorn_iters, rmsnorm_weight, "
        "rmsnorm_eps, rmsnorm_scale, new_residual, new_prev_mix, new_post_mix, new_comb_res_mix, "
        "y_bf16=None, y_fp8=None, y_gemm_sf=None, y_routed_sf=None, y_shared_sf=None, "
        "shared_sf_block_m=0"
    )
    without_effect: ClassVar[Mapping[str, tuple[str, ...]]] = {"y_gemm_sf": ()}
    archs = (ArchSupport("sm100", ">=0.2", "DeepGEMM 0.1 has no mega_mhc"),)
    handles_empty = ""
    proof = Proof(
        tolerance=2e-3,
        tolerance_reason="FP8 output is the coarsest of the outputs",
        examples=(
            {"hidden": 1024},
            {"hidden": 2048, "shifted": False},
            {"hidden": 1024, "fp8_output": True},
            {"hidden": 1024, "shifted": False, "fp8_output": True},
        ),
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        hidden = shape.hidden
        specs = {
            "x": BufferSpec((max_m, hidden), "bfloat16"),
            "residual": BufferSpec((max_m, _STREAMS, hidden), "bfloat16"),
            "post_mix": BufferSpec((max_m, _STREAMS, 1), "float32"),
            "comb_res_mix": BufferSpec((max_m, _STREAMS, _STREAMS), "float32"),
            "fn": BufferSpec((_MIXES, _STREAMS * hidden), "float32", "weight"),
            "mix_scales": BufferSpec((3,), "float32", "weight"),
            "mix_bases": BufferSpec((_MIXES,), "float32", "weight"),
            "rmsnorm_weight": BufferSpec((hidden,), "bfloat16", "weight"),
            "new_residual": BufferSpec((max_m, _STREAMS, hidden), "bfloat16", "output"),
            "new_post_mix": BufferSpec((max_m, _STREAMS, 1), "float32", "output"),
            "new_comb_res_mix": BufferSpec((max_m, _STREAMS, _STREAMS), "float32", "output"),
            "y_bf16": BufferSpec((max_m, hidden), "bfloat16", "output"),
        }
        if shape.shifted:
            specs["shifted_prev_mix"] = BufferSpec((max_m, _STREAMS, 1), "float32")
            specs["new_prev_mix"] = BufferSpec((max_m, _STREAMS, 1), "float32", "output")
        if shape.fp8_output:
            packed = scales.row_scales("ue8m0", max_m, hidden, group=_SCALE_GROUP)
            specs["y_fp8"] = BufferSpec((max_m, hidden), "float8_e4m3fn", "output")
            specs["y_sf"] = BufferSpec(packed.shape, packed.dtype, "output", packed.strides, packed.storage)
        return specs

    def workspace_requirement(self, shape: Shape, max_m: int) -> int:
        """An upper bound: the number of parts is DeepGEMM's choice."""
        blocks = scales.ceil_div(max_m, _TOKENS_OF_A_BLOCK)
        parts = min(shape.hidden // 64, max(_LEAST_PARTS, shape.target.num_sms // blocks))
        return blocks * parts * _BYTES_OF_A_PART + _BARRIER_BYTES

    def arguments(self, buffers: Buffers, m: int) -> Call:
        def rows(name: str) -> torch.Tensor | None:
            tensor = buffers.tensors.get(name)
            return None if tensor is None else tensor[:m]

        constants = (_STREAMS, _EPS, _EPS, _POST_SCALE, _EPS, _SINKHORN_ITERATIONS)
        norm = (buffers.rmsnorm_weight, _EPS, 1.0)
        inputs = (rows("x"), rows("residual"), rows("shifted_prev_mix"), rows("post_mix"), rows("comb_res_mix"))
        mixing = (buffers.fn, buffers.mix_scales, buffers.mix_bases)
        outputs = (rows("new_residual"), rows("new_prev_mix"), rows("new_post_mix"), rows("new_comb_res_mix"))
        y_sf = scales.rows_of(buffers.y_sf, m) if buffers.shape.fp8_output else None
        return Call((*inputs, *mixing, *constants, *norm, *outputs, rows("y_bf16"), rows("y_fp8"), y_sf))

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        calls.belongs(self.name, "y_bf16", "none" if call.y_bf16 is None else "a tensor", ("a tensor",))
        calls.belongs(self.name, "shared_sf_block_m", call.shared_sf_block_m, (0,))
        calls.belongs(self.name, "y_routed_sf", "none" if call.y_routed_sf is None else "a tensor", ("none",))
        return {
            "hidden": call.x.shape[1],
            "shifted": call.shifted_prev_mix is not None,
            "fp8_output": call.y_fp8 is not None,
        }

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        found = dict(super().outputs(buffers, m))
        return {**found, "y_sf": scales.rows_of(buffers.y_sf, m)} if buffers.shape.fp8_output else found

    def results(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        found = dict(self.outputs(buffers, m))
        if buffers.shape.fp8_output:
            found["y_fp8"] = scales.dequantize(found["y_fp8"], found.pop("y_sf"), _SCALE_GROUP)
        return found

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        buffers.rmsnorm_weight.normal_(generator=generator)
        buffers.mix_scales.uniform_(0.1, 1, generator=generator)
        for name in ("x", "residual"):
            buffers.tensors[name][:m].normal_(generator=generator)
        for name in ("post_mix", "comb_res_mix", "shifted_prev_mix"):
            if name in buffers.tensors:
                buffers.tensors[name][:m].uniform_(0.1, 1, generator=generator)
        buffers.mix_bases.normal_(generator=generator)
        weight = torch.randn(buffers.fn.shape, device=generator.device, generator=generator)
        buffers.fn.copy_(weight * (_STREAMS * buffers.shape.hidden) ** -0.5)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        import torch

        x, residual = buffers.x[:m].float(), buffers.residual[:m].float()
        streams = buffers.post_mix[:m] * x.unsqueeze(1) + buffers.comb_res_mix[:m].mT @ residual
        flat = streams.flatten(1)
        mixes = (flat @ buffers.fn.T) * (flat.square().mean(-1, keepdim=True) + _EPS).rsqrt()
        sizes = (_STREAMS, _STREAMS, _STREAMS**2)
        mixes = mixes * buffers.mix_scales.repeat_interleave(torch.tensor(sizes, device=x.device)) + buffers.mix_bases
        prev, post, comb = mixes.split(sizes, -1)
        prev = prev.sigmoid().unsqueeze(-1) + _EPS
        used = buffers.shifted_prev_mix[:m] if buffers.shape.shifted else prev
        y = (streams * used).sum(1)
        y = y * (y.square().mean(-1, keepdim=True) + _EPS).rsqrt() * buffers.rmsnorm_weight.float()
        wanted = {
            "new_residual": streams,
            "new_post_mix": post.sigmoid().unsqueeze(-1) * _POST_SCALE,
            "new_comb_res_mix": _sinkhorn(comb.unflatten(-1, (_STREAMS, _STREAMS))),
            "y_bf16": y,
            **({"new_prev_mix": prev} if buffers.shape.shifted else {}),
            **({"y_fp8": y} if buffers.shape.fp8_output else {}),
        }
        return wanted


def _sinkhorn(logits: torch.Tensor) -> torch.Tensor:
    """Rows and columns brought to a sum of one in turn."""
    value = logits.softmax(-1) + _EPS
    value = value / (value.sum(-2, keepdim=True) + _EPS)
    for _ in range(_SINKHORN_ITERATIONS - 1):
        value = value / (value.sum(-1, keepdim=True) + _EPS)
        value = value / (value.sum(-2, keepdim=True) + _EPS)
    return value
