"""What DeepGEMM allocates during FP8 GEMMs: closed formulas, and the rules of SM120 against its own host code."""

from __future__ import annotations

from typing import Any

import pytest

from kregistry import Registry, ShapeError, get_target
from kregistry.conformance import Machine
from kregistry.stub.library import default_stub_directory
from tests.plugins.stack import installed_stack


def _declared(name: str, target: str, values: dict[str, Any], m: int) -> int:
    kernel_type = Registry()[name]
    return kernel_type.workspace_requirement(kernel_type.resolve(values, get_target(target)), m)


@pytest.mark.parametrize(
    "name, target, values, m, nbytes",
    [
        # Operands that are not K-major are copied on SM120, and nowhere else.
        ("fp8_gemm_nn", "rtx-pro-6000", {"n": 576, "k": 512}, 130, 576 * 512),
        ("fp8_gemm_tn", "rtx-pro-6000", {"n": 576, "k": 512}, 130, 576 * 512 + 130 * 512),
        ("fp8_gemm_tt", "rtx-pro-6000", {"n": 576, "k": 512}, 130, 130 * 512),
        ("fp8_gemm_tn", "rtx-pro-6000", {"n": 576, "k": 512, "major": "k"}, 130, 0),
        ("fp8_gemm_tn", "b200", {"n": 576, "k": 512}, 130, 0),
        # One of FP4 is copied through a byte for each value.
        (
            "m_grouped_fp8_fp4_gemm_nn_contiguous",
            "rtx-pro-6000",
            {"num_groups": 2, "n": 384, "k": 128},
            640,
            5 * 2 * 384 * 128,
        ),
        # f32 scale factors: those of a (packed), those of b for each row, and int64 indices of the rows.
        ("fp8_gemm_nt", "b200", {"n": 200, "k": 144, "scales": "f32"}, 130, 4 * 132 + 4 * 200 * 2 + 8 * 200),
        ("fp8_gemm_nt", "b200", {"n": 256, "k": 2048, "scales": "f32"}, 4, 16 * 4 + 4 * 256 * 16 + 4 * 256 * 4),
        # The sum over k in parts, each with an FP32 output: as many as have 2 words of packed scale factors and an SM
        # for each tile of 128 x 128.
        ("mxfp8_gemm_nt", "rtx-pro-6000", {"n": 256, "k": 512}, 9, 2 * 4 * 9 * 256),
        ("mxfp8_gemm_nt", "rtx-pro-6000", {"n": 128, "k": 384}, 128, 0),
        ("fp8_gemm_nt", "rtx-pro-6000", {"n": 1024, "k": 4096}, 512, 4 * 4 * 512 * 1024),
        ("fp8_gemm_nt", "rtx-pro-6000", {"n": 1000, "k": 8192, "num_sms": 20}, 256, 2 * 4 * 128 * 1000),
        ("fp8_gemm_nt", "b200", {"n": 1024, "k": 4096}, 512, 0),
    ],
)
def test_bytes_by_closed_formulas(name: str, target: str, values: dict[str, Any], m: int, nbytes: int) -> None:
    assert _declared(name, target, values, m) == nbytes


@pytest.mark.stub
@pytest.mark.parametrize(
    "name, values",
    [
        ("fp8_gemm_nt", {"n": 1536, "k": 7168}),
        ("fp8_gemm_tn", {"n": 1024, "k": 8192}),
        ("fp8_gemm_nt_block32", {"n": 264, "k": 544}),
        ("fp8_gemm_nt_wgrad", {"n": 256, "k": 4096}),
        ("fp8_gemm_nt_skip_head_mid", {"n": 512, "k": 4096, "scales": "f32"}),
    ],
)
def test_large_sums_on_sm120_stay_within_what_is_declared(name: str, values: dict[str, Any]) -> None:
    if installed_stack() != "0.2":
        pytest.skip("DeepGEMM 0.1 has no FP8 GEMM for sm120")
    kernel_type, target = Registry()[name], get_target("rtx-pro-6000")
    shape = kernel_type.resolve(values, target)
    with Machine(default_stub_directory()) as machine:
        probed = machine.prober(target).probe(kernel_type, shape, (64, 128, 129, 257, 385))
    allocated = {value.m: value.warm_up.nbytes for value in probed.values}
    assert any(allocated.values())
    for m, nbytes in allocated.items():
        assert nbytes <= kernel_type.workspace_requirement(shape, m)


@pytest.mark.parametrize("name", ["m_grouped_bf16_gemm_nt_contiguous", "m_grouped_fp4_gemm_nt_contiguous"])
def test_alignments_that_no_tile_of_sm120_divides_are_refused(name: str) -> None:
    kernel_type = Registry()[name]
    values = {"num_groups": 2, "n": 256, "k": 512}
    for alignment in (32, 64, 128, 256, 384):
        kernel_type.resolve({**values, "mk_alignment": alignment}, get_target("rtx-pro-6000"))
    for alignment in (96, 160, 192, 224, 320):
        with pytest.raises(ShapeError, match=f"{alignment} is refused on sm120: no tile"):
            kernel_type.resolve({**values, "mk_alignment": alignment}, get_target("rtx-pro-6000"))
    kernel_type.resolve({**values, "mk_alignment": 160}, get_target("b200"))


@pytest.mark.parametrize("psum, wanted", [(False, [256, 256, 128]), (True, [256, 512, 640])])
def test_layouts_of_k_groups_start_with_valid_sizes(psum: bool, wanted: list[int]) -> None:
    kernel_type = Registry()["get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor"]
    shape = kernel_type.resolve({"num_groups": 3, "mn": 64, "use_psum_layout": psum}, get_target("h100"))
    assert kernel_type.allocate_buffers(shape, 5, "cpu").grouped_layout.tolist() == wanted
    gemm = Registry()["k_grouped_bf16_gemm_tn_contiguous"]
    values = {"num_groups": 3, "m": 64, "n": 64, "use_psum_layout": psum}
    layout = gemm.allocate_buffers(gemm.resolve(values, get_target("b200")), 256, "cpu").grouped_layout
    assert layout.tolist() == ([256, 256, 256] if psum else [256, 0, 0])


def test_a_gate_of_many_experts_needs_four_sms() -> None:
    gate, b200 = Registry()["bf16_mega_gate"], get_target("b200")
    values = {"hidden": 512, "num_experts": 260, "top_k": 8}
    gate.resolve({**values, "num_sms": 4}, b200)
    gate.resolve({**values, "num_experts": 256, "num_sms": 2}, b200)
    with pytest.raises(ShapeError, match="2 is too few for more than 256 experts"):
        gate.resolve({**values, "num_sms": 2}, b200)
