"""A real call belongs to one kernel type, also where several claim the same function of DeepGEMM."""

from __future__ import annotations

import pytest

from kregistry import Registry, ShapeError, get_target

#: Kernel types that share fp8_gemm_nt or fp8_fp4_gemm_nt.
_SHARING = (
    "fp8_gemm_nt",
    "fp8_gemm_nt_wgrad",
    "fp8_gemm_nt_block32",
    "mxfp8_gemm_nt",
    "fp8_fp4_gemm_nt",
    "fp4_gemm_nt",
)


@pytest.mark.parametrize("owner", _SHARING)
def test_each_call_is_taken_by_its_own_kernel_type_and_refused_by_the_others(owner: str) -> None:
    registry = Registry()
    kernel_type = registry[owner]
    shape = kernel_type.resolve({"n": 256, "k": 512}, get_target("b200"))
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 64, "meta"), 17)
    takers = []
    for name in _SHARING:
        try:
            registry[name].read_shape(*call.args, **call.kwargs)
        except ShapeError as error:
            assert error.kernel_type == name and "expected" in error.text
        else:
            takers.append(name)
    assert takers == [owner]


def test_mxfp8_is_known_by_both_of_its_recipes() -> None:
    """SGLang writes the recipe of each operand; DeepGEMM takes the same kernels (stub GPU, both stacks)."""
    kernel_type = Registry()["mxfp8_gemm_nt"]
    shape = kernel_type.resolve({"n": 256, "k": 512}, get_target("b200"))
    args = kernel_type.arguments(kernel_type.allocate_buffers(shape, 64, "meta"), 17).args
    spelled = {"recipe_a": (1, 32), "recipe_b": (1, 32), "disable_ue8m0_cast": True}
    assert kernel_type.read_shape(*args, **spelled) == {"n": 256, "k": 512}
    with pytest.raises(ShapeError, match="a call with recipes"):
        kernel_type.read_shape(*args, recipe_a=(1, 32))


def test_another_einsum_is_refused() -> None:
    kernel_type = Registry()["fp8_einsum_bhr_hdr_bhd"]
    shape = kernel_type.resolve({"h": 2, "r": 128, "d": 128}, get_target("h100"))
    _, *rest = kernel_type.arguments(kernel_type.allocate_buffers(shape, 4, "meta"), 4).args
    with pytest.raises(ShapeError, match="a call with expression = bhd,hdr->bhr, expected bhr,hdr->bhd"):
        kernel_type.read_shape("bhd,hdr->bhr", *rest)


@pytest.mark.parametrize(
    "name", ["m_grouped_bf16_gemm_nt_contiguous", "m_grouped_bf16_gemm_nn_contiguous", "m_grouped_bf16_gemm_nt_masked"]
)
def test_grouped_bf16_gemms_refuse_an_odd_k_on_sm90_only(name: str) -> None:
    kernel_type = Registry()[name]
    values = {"num_groups": 2, "n": 64, "k": 136}
    with pytest.raises(ShapeError, match="sm90 needs a multiple of 64"):
        kernel_type.resolve(values, get_target("h100"))
    assert kernel_type.resolve(values, get_target("b200")).k == 136
