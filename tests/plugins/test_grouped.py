"""Grouped GEMMs: exact bytes by closed formulas, groups without rows, settings that an arch refuses."""

from __future__ import annotations

from typing import Any

import pytest

from kregistry import Registry, ShapeError, get_target

_CASES: list[tuple[str, str, dict[str, Any], int, int]] = [
    # Kernel type, target, shape, run-time value, bytes of the buffers.
    (
        "m_grouped_fp8_gemm_nn_contiguous",
        "h100",
        {"num_groups": 3, "n": 200, "k": 640},
        256,
        256 * 640 + 4 * 256 * 5 + 3 * (200 * 640 + 4 * 2 * 5) + 2 * 256 * 200 + 4 * 256,
    ),
    (
        "m_grouped_fp8_gemm_nn_contiguous",
        "b200",
        {"num_groups": 3, "n": 208, "k": 640},
        256,
        256 * 640 + 4 * 256 * 2 + 3 * (208 * 640 + 4 * 208 * 2) + 2 * 256 * 208 + 4 * 256,
    ),
    (
        "k_grouped_bf16_gemm_tn_contiguous",
        "h100",
        {"num_groups": 3, "m": 64, "n": 200},
        384,
        2 * (384 + 256) * (64 + 200) + 4 * 3 * 64 * 200 + 4 * 3,  # 384, 0 and 256 rows
    ),
    (
        "k_grouped_fp8_gemm_nt_contiguous",
        "h100",
        {"num_groups": 3, "m": 64, "n": 200},
        384,
        640 * (64 + 200) + 4 * 5 * (64 + 200) + 4 * 3 * 64 * 200 + 4 * 3,
    ),
    (
        "k_grouped_fp8_gemm_tn_contiguous",
        "b200",
        {"num_groups": 3, "m": 64, "n": 208, "scale_rows": 32, "scales": "ue8m0"},
        384,
        384 * (64 + 208) + 4 * 3 * (64 + 208) + 4 * 3 * 64 * 208 + 4 * 3,
    ),
]


@pytest.mark.parametrize(("name", "target", "values", "m", "nbytes"), _CASES)
def test_bytes_are_those_of_the_closed_formula(
    name: str, target: str, values: dict[str, Any], m: int, nbytes: int
) -> None:
    kernel_type = Registry()[name]
    assert kernel_type.memory_requirement(kernel_type.resolve(values, get_target(target)), m) == nbytes


def test_a_k_grouped_gemm_without_any_row_gives_what_it_adds_to() -> None:
    import torch

    kernel_type = Registry()["k_grouped_bf16_gemm_tn_contiguous"]
    a, b = torch.ones(0, 8, dtype=torch.bfloat16), torch.ones(0, 8, dtype=torch.bfloat16)
    d, c, layout = torch.full((2, 8, 8), 7.0), torch.full((2, 8, 8), 3.0), torch.zeros(2, dtype=torch.int32)
    kernel_type(a, b, d, [0, 0], layout, d)
    assert (d == 7).all()
    kernel_type(a, b, d, [0, 0], layout, c)
    assert (d == 3).all() and (c == 3).all()
    kernel_type(a, b, d, [0, 0], layout)
    assert (d == 0).all()


def test_the_reference_of_a_k_grouped_gemm_leaves_groups_without_rows() -> None:
    import torch

    kernel_type = Registry()["k_grouped_fp8_gemm_nt_contiguous"]
    shape = kernel_type.resolve({"num_groups": 3, "m": 8, "n": 8}, get_target("h100"))
    buffers = kernel_type.allocate_buffers(shape, 256, "cpu")
    kernel_type.fill(buffers, 256, torch.Generator().manual_seed(0))
    assert buffers.grouped_layout.tolist() == [256, 0, 128]
    after = kernel_type.reference(buffers, 256)["d"]
    unchanged = [bool((after[group] == buffers.d[group]).all()) for group in range(3)]
    assert unchanged == [False, True, False]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("m_grouped_fp8_gemm_nn_contiguous", {"k": 128, "major": "mn"}, "mn is refused on sm90"),
        ("k_grouped_bf16_gemm_tn_contiguous", {"m": 64, "mk_alignment": 96}, "96 is refused on sm90"),
        ("k_grouped_bf16_gemm_tn_contiguous", {"m": 64, "use_psum_layout": True}, "true is refused on sm90"),
        ("k_grouped_bf16_gemm_tn_contiguous", {"m": 64, "accumulate": False}, "c is required"),
    ],
)
def test_what_sm90_refuses(name: str, values: dict[str, Any], message: str) -> None:
    kernel_type = Registry()[name]
    shape = {"num_groups": 2, "n": 64, **values}
    with pytest.raises(ShapeError, match=message):
        kernel_type.resolve(shape, get_target("h100"))
    assert kernel_type.resolve(shape, get_target("b200")).n == 64


def test_the_contiguous_layout_of_the_process_is_read_off_a_call() -> None:
    kernel_type = Registry()["m_grouped_fp8_gemm_nt_contiguous"]
    shape = kernel_type.resolve({"num_groups": 2, "n": 64, "k": 128, "mk_alignment": 64}, get_target("h100"))
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 128, "meta"), 128)
    with kernel_type.scope(shape):
        assert kernel_type.read_shape(*call.args, **call.kwargs)["mk_alignment"] == 64
    assert kernel_type.read_shape(*call.args, **call.kwargs)["mk_alignment"] == 128
