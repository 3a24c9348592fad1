"""Calls of ``einsum``: each expression is its own kernel type, and what would end the process is refused before."""

from __future__ import annotations

import pytest

from kregistry import Registry, ShapeError, get_target
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type.sealed_call import guard

#: An example shape of every kernel type that calls ``einsum``, and of those that call ``fp8_einsum``.
_EINSUMS = {
    "einsum_bhr_hdr_bhd": {"h": 2, "r": 64, "d": 64},
    "einsum_bhd_hdr_bhr": {"h": 2, "r": 64, "d": 64},
    "einsum_bmk_bnk_mn": {"m": 64, "n": 64, "k": 64},
    "einsum_bmk_bnk_mn_accumulate": {"m": 64, "n": 64, "k": 64},
}

_FP8 = {
    "fp8_einsum_bhr_hdr_bhd": {"h": 2, "r": 128, "d": 256, "scales": "ue8m0", "scale_columns": 32},
    "fp8_einsum_bhd_hdr_bhr": {"h": 2, "r": 128, "d": 256, "output": "float32"},
    "fp8_einsum_bhd_bhr_hdr": {"h": 2, "r": 128, "d": 256, "scales": "ue8m0"},
    "fp8_einsum_bhr_hdr_bhd_fp8_output": {"h": 2, "r": 128, "d": 256},
}


@pytest.mark.parametrize("owner", [*_EINSUMS, *_FP8])
def test_each_call_is_taken_by_its_own_kernel_type_and_refused_by_the_others(owner: str) -> None:
    registry = Registry()
    family = _EINSUMS if owner in _EINSUMS else _FP8
    shape = registry[owner].resolve(family[owner], get_target("b200"))
    call = registry[owner].arguments(registry[owner].allocate_buffers(shape, 4, "meta"), 3)
    takers = []
    for name in family:
        try:
            registry[name].read_shape(*call.args, **call.kwargs)
        except ShapeError as error:
            assert error.kernel_type == name and "expected" in error.text
        else:
            takers.append(name)
    assert takers == [owner]


@pytest.mark.parametrize("name", ["einsum_bmk_bnk_mn", "einsum_bmk_bnk_mn_accumulate"])
def test_the_call_that_ends_the_process_is_refused_before_it(name: str) -> None:
    import torch

    kernel_type = Registry()[name]
    a, b = torch.ones(2, 64, 64, dtype=torch.bfloat16), torch.ones(2, 64, 64, dtype=torch.bfloat16)

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("called")

    asks_first = guard(never, kernel_type.read_m, kernel_type.handle_empty, raises_on_empty=False)
    assert (kernel_type.handles_empty, kernel_type.raises_on_empty) == (
        "none",
        "none",
    )  # so this guard is what sealing gives
    for call in (kernel_type, asks_first):
        with pytest.raises(ShapeError, match="FP32 d and no c") as caught:
            call("bmk,bnk->mn", a, b, torch.zeros(64, 64))
        assert caught.value.hint == "pass c=d, what is added to"


def test_cublaslt_calls_belong_to_no_kernel_type() -> None:
    kernel_type = Registry()["einsum_bhr_hdr_bhd"]
    shape = kernel_type.resolve(_EINSUMS[kernel_type.name], get_target("h100"))
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 4, "meta"), 4)
    with pytest.raises(ShapeError, match="use_cublaslt = True"):
        kernel_type.read_shape(*call.args, use_cublaslt=True)


def test_a_batch_of_none_gives_zeros_or_leaves_the_sum() -> None:
    import torch

    registry = Registry()
    a = torch.ones(0, 64, 64, dtype=torch.bfloat16)
    d, total = torch.ones(64, 64, dtype=torch.bfloat16), torch.ones(64, 64)
    registry["einsum_bmk_bnk_mn"]("bmk,bnk->mn", a, a, d)
    registry["einsum_bmk_bnk_mn_accumulate"]("bmk,bnk->mn", a, a, total, c=total)
    assert (d == 0).all() and (total == 1).all()


def test_fp32_output_needs_a_later_deep_gemm() -> None:
    kernel_type = Registry()["einsum_bhr_hdr_bhd"]
    shape = kernel_type.resolve({**_EINSUMS[kernel_type.name], "output": "float32"}, get_target("h100"))
    with pytest.raises(ShapeError, match=r"float32 needs DeepGEMM >=0\.2\.4, found 0\."), applied(kernel_type, shape):
        pass
    with pytest.raises(ShapeError, match="float32 is refused on sm120"):
        kernel_type.resolve(shape.shown(), get_target("rtx-pro-6000"))


@pytest.mark.parametrize(
    ("name", "values", "m", "nbytes"),
    [
        ("einsum_bhr_hdr_bhd", {"h": 2, "r": 64, "d": 72}, 5, 2 * (5 * 2 * 64 + 2 * 72 * 64 + 5 * 2 * 72)),
        ("einsum_bmk_bnk_mn", {"m": 64, "n": 128, "k": 64}, 5, 2 * 5 * 64 * (64 + 128) + 2 * 64 * 128),
        ("einsum_bmk_bnk_mn_accumulate", {"m": 64, "n": 128, "k": 64}, 5, 2 * 5 * 64 * (64 + 128) + 4 * 64 * 128),
        (
            "fp8_einsum_bhr_hdr_bhd",
            {"h": 2, "r": 640, "d": 256, "scales": "ue8m0"},
            5,
            5 * 2 * 640 + 4 * 2 * 2 * 8 + 2 * 256 * 640 + 2 * 4 * 256 * 2 + 2 * 5 * 2 * 256,
        ),
        (
            "fp8_einsum_bhd_hdr_bhr",
            {"h": 2, "r": 256, "d": 640},
            5,
            5 * 2 * 640 + 4 * 5 * 2 * 5 + 2 * 256 * 640 + 4 * 2 * 2 * 5 + 2 * 5 * 2 * 256,
        ),
        (
            "fp8_einsum_bhd_bhr_hdr",
            {"h": 2, "r": 256, "d": 640},
            256,
            256 * 2 * (640 + 256) + 4 * 2 * 2 * (640 + 256) + 4 * 2 * 640 * 256,
        ),
        (
            "fp8_einsum_bhr_hdr_bhd_fp8_output",
            {"h": 3, "r": 640, "d": 256},
            5,
            5 * 3 * 640 + 4 * 5 * 3 * 5 + 3 * (256 * 640 + 4 * 2 * 5) + 5 * 3 * 256 + 4 * 3 * 256 // 128 * 8,
        ),
    ],
)
def test_bytes_are_those_of_the_closed_formula(name: str, values: dict[str, object], m: int, nbytes: int) -> None:
    kernel_type = Registry()[name]
    assert kernel_type.memory_requirement(kernel_type.resolve(values, get_target("b200")), m) == nbytes


@pytest.mark.parametrize("values", [{"scales": "ue8m0"}, {"scale_columns": 32}, {"output": "float32"}])
def test_what_fp8_einsum_refuses_on_sm90(values: dict[str, object]) -> None:
    kernel_type = Registry()["fp8_einsum_bhr_hdr_bhd"]
    [name] = values
    with pytest.raises(ShapeError, match="is refused on sm90") as caught:
        kernel_type.resolve({"h": 2, "r": 128, "d": 128, **values}, get_target("h100"))
    assert caught.value.dimension == name


def test_fp8_output_says_where_it_is_not() -> None:
    kernel_type = Registry()["fp8_einsum_bhr_hdr_bhd_fp8_output"]
    assert kernel_type.unsupported_reason(get_target("b200"), "0.2.3.post2") is None
    assert "0.1 has no FP8 einsum with FP8 output" in str(
        kernel_type.unsupported_reason(get_target("b200"), "0.1.4.post1")
    )
    for target in ("h100", "rtx-pro-6000"):
        assert "only sm100 quantises" in str(kernel_type.unsupported_reason(get_target(target), "0.2.3.post2"))
    with pytest.raises(ShapeError, match="a multiple of 128, got 64"):
        kernel_type.resolve({"h": 2, "r": 128, "d": 64}, get_target("b200"))


def test_scale_factors_of_an_output_run_over_the_heads_of_a_token() -> None:
    """Word i of a token holds those of columns 128 i to 128 i + 127 of z as [b, h * d]."""
    import torch

    kernel_type = Registry()["fp8_einsum_bhr_hdr_bhd_fp8_output"]
    shape = kernel_type.resolve({"h": 2, "r": 16, "d": 128}, get_target("b200"))
    buffers = kernel_type.allocate_buffers(shape, 5, "cpu")
    data, factors = kernel_type.outputs(buffers, 5).values()
    assert (factors.shape, factors.stride()) == ((5, 2), (1, 8))
    data.copy_(torch.ones(5, 2, 128))
    factors.copy_(torch.tensor([0x7F7F7F7F, 0x7F7F7F80]).expand(5, 2))
    found = kernel_type.results(buffers, 5)["z"]
    assert (found[:, 0] == 1).all() and (found[:, 1, :32] == 2).all() and (found[:, 1, 32:] == 1).all()
