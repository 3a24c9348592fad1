"""Grouped GEMMs: exact bytes by closed formulas, groups without rows, settings that an arch refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import on_stub
import pytest

from kregistry import Registry, ShapeError, get_target
from kregistry.deep_gemm.settings import applied, read_call
from kregistry.recording.recognition import recognise

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
        "m_grouped_fp8_gemm_nt_contiguous",
        "h100",
        {"num_groups": 3, "n": 200, "k": 640, "use_psum_layout": True},
        256,
        256 * 640 + 4 * 256 * 5 + 3 * (200 * 640 + 4 * 2 * 5) + 2 * 256 * 200 + 4 * 3,
    ),
    (
        "m_grouped_fp8_fp4_gemm_nt_contiguous",
        "b200",
        {"num_groups": 3, "n": 200, "k": 640},
        256,
        256 * 640 + 4 * 256 * 2 + 3 * (200 * 320 + 4 * 200 * 5) + 2 * 256 * 200 + 4 * 256,
    ),
    (
        "m_grouped_fp8_fp4_gemm_nt_masked",
        "b200",
        {"num_groups": 3, "n": 200, "k": 640},
        100,  # whole tiles of 128 rows
        3 * (128 * 640 + 4 * 128 * 2 + 200 * 320 + 4 * 200 * 5 + 2 * 128 * 200) + 4 * 3,
    ),
    (
        "fp8_gemm_nt_skip_head_mid",
        "h100",
        {"n": 512, "k": 640},
        17,
        17 * 640 + 4 * 17 * 5 + 512 * 640 + 4 * 4 * 5 + 2 * 17 * (512 + 2 * 64),
    ),
    (
        "fp8_gemm_nt_block32",
        "b200",
        {"n": 200, "k": 640},
        17,
        17 * 640 + 4 * 17 * 20 + 200 * 640 + 4 * 7 * 20 + 2 * 17 * 200,
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
    (
        "k_grouped_fp4_gemm_nt_contiguous",
        "b200",
        {"num_groups": 3, "m": 76, "n": 200},
        512,
        256 * (76 + 200) + 4 * 16 * (76 + 200) + 4 * 3 * 76 * 200 + 4 * 3,
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


@pytest.mark.parametrize(("target", "rows"), [("h100", 256), ("b200", 384)])
def test_a_real_call_says_the_rows_that_choose_its_kernel(target: str, rows: int, tmp_path: Path) -> None:
    """The largest group on SM90, all groups together on SM100."""
    script = """
    kind = kregistry.Registry()["k_grouped_bf16_gemm_tn_contiguous"]
    a = torch.empty(384, 64, dtype=torch.bfloat16, device="cuda")
    answer(m=kind.read_m(a, a, torch.empty(2, 64, 64, device="cuda"), [256, 128], None))
    """
    assert on_stub.answer(script, tmp_path, target=target)["m"] == rows


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n": 68, "output": "bfloat16"}, "a multiple of 8 with bfloat16 output, got 68"),
        ({"num_groups": 129}, "129 is more than the 128 that DeepGEMM packs scale factors of"),
        ({"mk_alignment": 128}, "expected 256 or 512 or 768 or 1024, got 128"),
    ],
)
def test_k_grouped_fp4_refuses_what_deep_gemm_asserts(values: dict[str, Any], message: str) -> None:
    kernel_type = Registry()["k_grouped_fp4_gemm_nt_contiguous"]
    with pytest.raises(ShapeError, match=message):
        kernel_type.resolve({"num_groups": 2, "m": 64, "n": 64, **values}, get_target("b200"))


def test_k_grouped_fp4_says_where_it_is_not() -> None:
    kernel_type = Registry()["k_grouped_fp4_gemm_nt_contiguous"]
    assert kernel_type.unsupported_reason(get_target("b200"), "0.2.3.post2") is None
    for target, version, reason in (
        ("b200", "0.1.4.post1", "DeepGEMM 0.1 has no k-grouped FP4 GEMM"),
        ("h100", "0.2.3.post2", "FP4 operands need sm100 or sm120"),
        ("rtx-pro-6000", "0.2.3.post2", "for sm90 and sm100 only"),
    ):
        assert reason in str(kernel_type.unsupported_reason(get_target(target), version))


@pytest.mark.parametrize("form", ["f32", "ue8m0"])
def test_k_grouped_fp4_sums_the_rows_of_all_groups(form: str) -> None:
    """The kernel is chosen by all rows together, which a call says with or without ``ks``."""
    import torch

    kernel_type = Registry()["k_grouped_fp4_gemm_nt_contiguous"]
    shape = kernel_type.resolve({"num_groups": 3, "m": 8, "n": 12, "scales": form}, get_target("b200"))
    buffers = kernel_type.allocate_buffers(shape, 1024, "cpu")
    kernel_type.fill(buffers, 512, torch.Generator().manual_seed(0))
    call = kernel_type.arguments(buffers, 512)
    (a, sfa), (b, _), d, *_ = call.args
    assert (a.shape, b.shape, sfa.shape) == ((8, 256), (12, 256), (512 // (32 if form == "f32" else 128), 8))
    assert kernel_type.read_m((a, sfa), (b, None), d, None, buffers.grouped_layout) == 512
    after = kernel_type.reference(buffers, 512)["d"]
    assert [bool((after[group] == d[group]).all()) for group in range(3)] == [False, True, True]


#: Kernel types that share the functions of the contiguous and of the masked layout.
_SHARING = {
    layout: [f"m_grouped_{precision}_gemm_{layout}" for precision in ("fp8", "mxfp8", "fp8_fp4", "fp4")]
    for layout in ("nt_contiguous", "nt_masked")
}
_SHARING["nn_contiguous"] = ["m_grouped_fp8_gemm_nn_contiguous", "m_grouped_fp8_fp4_gemm_nn_contiguous"]


@pytest.mark.parametrize("owner", [name for names in _SHARING.values() for name in names])
def test_each_call_is_taken_by_its_own_kernel_type_and_refused_by_the_others(owner: str) -> None:
    registry = Registry()
    shape = registry[owner].resolve({"num_groups": 2, "n": 256, "k": 512}, get_target("b200"))
    call = registry[owner].arguments(registry[owner].allocate_buffers(shape, 256, "meta"), 128)
    takers = []
    for name in next(names for names in _SHARING.values() if owner in names):
        try:
            registry[name].read_shape(*call.args, **call.kwargs)
        except ShapeError as error:
            assert error.kernel_type == name and "expected" in error.text
        else:
            takers.append(name)
    assert takers == [owner]


@pytest.mark.parametrize(("groups", "m"), [(2, 256), (4, 256), (3, 200), (3, 0), (2, 1024)])
@pytest.mark.parametrize("seed", range(4))
def test_the_psum_layout_says_where_groups_end(groups: int, m: int, seed: int) -> None:
    """The same groups own the same rows in both layouts: each group ends somewhere, the next begins at the next 128."""
    import torch

    kernel_type = Registry()["m_grouped_bf16_gemm_nt_contiguous"]
    layouts = {}
    for psum in (False, True):
        values = {"num_groups": groups, "n": 8, "k": 64, "use_psum_layout": psum}
        buffers = kernel_type.allocate_buffers(kernel_type.resolve(values, get_target("h100")), 1024, "cpu")
        kernel_type.fill(buffers, m, torch.Generator().manual_seed(seed))
        layouts[psum] = buffers.grouped_layout.tolist()
    begin, owners = 0, []
    for group, end in enumerate(layouts[True]):
        assert end >= begin and end <= -(-m // 128) * 128
        owners += [group] * (end - begin)
        begin = -(-end // 128) * 128
        owners += [group] * (begin - end if end < m else 0)
    assert owners[:m] == layouts[False][:m]


def test_the_hint_of_the_psum_layout_follows_m_where_it_is_asked_to() -> None:
    kernel_type = Registry()["m_grouped_fp8_gemm_nt_contiguous"]
    values = {"num_groups": 4, "n": 64, "k": 128, "expected_m_for_psum_layout": "rows_per_group"}
    with pytest.raises(ShapeError, match="needs use_psum_layout: true"):
        kernel_type.resolve(values, get_target("h100"))
    shape = kernel_type.resolve({**values, "use_psum_layout": True}, get_target("h100"))
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 1024, "meta"), 1024)
    assert call.kwargs == {"use_psum_layout": True, "expected_m_for_psum_layout": 256}


def test_the_contiguous_layout_of_the_process_is_read_off_a_call() -> None:
    kernel_type = Registry()["m_grouped_fp8_gemm_nt_contiguous"]
    shape = kernel_type.resolve({"num_groups": 2, "n": 64, "k": 128, "mk_alignment": 64}, get_target("h100"))
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 128, "meta"), 128)
    with applied(kernel_type, shape):
        assert read_call(kernel_type, call.args, call.kwargs)["mk_alignment"] == 64
    assert "mk_alignment" not in read_call(kernel_type, call.args, call.kwargs)


def test_heads_must_divide_n() -> None:
    with pytest.raises(ShapeError, match="a multiple of head_left \\+ head_right = 256, got 384") as caught:
        Registry()["fp8_gemm_nt_skip_head_mid"].resolve({"n": 384, "k": 128}, get_target("h100"))
    assert caught.value.dimension == "n"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("fp8_gemm_nt", {"n": 200, "k": 640, "scales": "f32"}),
        ("fp8_gemm_nt_wgrad", {"n": 200, "k": 640}),
        ("fp8_gemm_nt_block32", {"n": 200, "k": 640}),
        ("m_grouped_fp8_gemm_nt_contiguous", {"num_groups": 2, "n": 200, "k": 640, "scales": "f32"}),
        ("k_grouped_fp8_gemm_tn_contiguous", {"num_groups": 2, "m": 64, "n": 64}),
        ("k_grouped_fp4_gemm_nt_contiguous", {"num_groups": 2, "m": 64, "n": 64}),
        ("fp8_einsum_bhr_hdr_bhd", {"h": 2, "r": 256, "d": 128}),
        ("fp8_einsum_bhd_bhr_hdr", {"h": 2, "r": 256, "d": 128}),
    ],
)
def test_f32_scale_factors_that_are_packed_are_powers_of_two(name: str, values: dict[str, Any]) -> None:
    """The kernel that packs them traps on any other (smxx_layout.cuh)."""
    import torch

    kernel_type = Registry()[name]
    buffers = kernel_type.allocate_buffers(kernel_type.resolve(values, get_target("b200")), 256, "cpu")
    kernel_type.fill(buffers, 256, torch.Generator().manual_seed(0))
    factors = [tensor for name, tensor in buffers.tensors.items() if name.startswith("sf")]
    assert len(factors) == 2
    for each in factors:
        assert (each.log2() == each.log2().round()).all()


@pytest.mark.parametrize(
    ("function", "name", "b_dtype", "columns"),
    [
        ("m_grouped_fp8_gemm_nt_masked", "m_grouped_fp8_fp4_gemm_nt_masked", "int8", 320),
        ("fp8_m_grouped_gemm_nt_masked", "m_grouped_fp8_fp4_gemm_nt_masked", "int8", 320),
        ("fp8_m_grouped_gemm_nt_masked", "m_grouped_fp8_gemm_nt_masked", "float8_e4m3fn", 640),
        ("m_grouped_fp8_gemm_nt_contiguous", "m_grouped_fp8_fp4_gemm_nt_contiguous", "int8", 320),
        ("m_grouped_fp8_gemm_nt_contiguous", "m_grouped_fp8_gemm_nt_contiguous", "float8_e4m3fn", 640),
    ],
)
def test_weights_say_which_kernel_type_a_name_of_several_is(
    function: str, name: str, b_dtype: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SGLang calls FP4 weights of DeepSeek-V4 by the names of FP8: in DeepGEMM they are one function."""
    import torch

    monkeypatch.setattr("kregistry_plugins.fp8_gemm.contiguous.contiguous_rows.read_layout", lambda *args: {})
    fp4 = b_dtype == "int8"
    rows = (3, 128) if "masked" in function else (128,)
    a = (torch.empty(*rows, 640, dtype=torch.float8_e4m3fn), torch.empty(*rows, 2, dtype=torch.int32))
    scales = (3, 200, 5) if fp4 else (3, 200, 2)
    b = (torch.empty(3, 200, columns, dtype=getattr(torch, b_dtype)), torch.empty(scales, dtype=torch.int32))
    d = torch.empty(*rows, 200, dtype=torch.bfloat16)
    layout = torch.zeros(3 if "masked" in function else 128, dtype=torch.int32)
    recipes = {"recipe_a": (1, 128), "recipe_b": (1, 32)} if fp4 else {}
    expected_m = (100,) if "masked" in function else ()
    found = recognise(Registry(), function, (a, b, d, layout, *expected_m), recipes)
    assert found is not None
    assert (found[0].name, found[1]["num_groups"], found[1]["n"], found[1]["k"]) == (name, 3, 200, 640)
