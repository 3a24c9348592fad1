"""Calls of ``einsum``: each expression is its own kernel type, and what would end the process is refused before."""

from __future__ import annotations

import pytest

from kregistry import Registry, ShapeError, get_target

#: An example shape of every kernel type that calls ``einsum``.
_EINSUMS = {
    "einsum_bhr_hdr_bhd": {"h": 2, "r": 64, "d": 64},
    "einsum_bhd_hdr_bhr": {"h": 2, "r": 64, "d": 64},
    "einsum_bmk_bnk_mn": {"m": 64, "n": 64, "k": 64},
    "einsum_bmk_bnk_mn_accumulate": {"m": 64, "n": 64, "k": 64},
}


@pytest.mark.parametrize("owner", _EINSUMS)
def test_each_call_is_taken_by_its_own_kernel_type_and_refused_by_the_others(owner: str) -> None:
    registry = Registry()
    shape = registry[owner].resolve(_EINSUMS[owner], get_target("h100"))
    call = registry[owner].arguments(registry[owner].allocate_buffers(shape, 4, "meta"), 3)
    takers = []
    for name in _EINSUMS:
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

    for call in (kernel_type, kernel_type.guard(never)):
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
    with pytest.raises(ShapeError, match=r"float32 needs DeepGEMM >= 0\.2, found 0\.1"), kernel_type.scope(shape):
        pass
    with pytest.raises(ShapeError, match="float32 is refused on sm120"):
        kernel_type.resolve(dict(shape), get_target("rtx-pro-6000"))
