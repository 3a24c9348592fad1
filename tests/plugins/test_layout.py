"""Calls of the layout functions: which kernel type takes them, what an empty one returns."""

from __future__ import annotations

import pytest

from kregistry import Registry, ShapeError, get_target

_PACKED = "get_mn_major_tma_aligned_packed_ue8m0_tensor"


@pytest.mark.parametrize("columns", [2, 7])
def test_row_major_and_mn_major_input_belong_to_different_kernel_types(columns: int) -> None:
    import torch

    registry = Registry()
    rows, mn_major = registry[_PACKED], registry[f"{_PACKED}_from_mn_major"]
    sf = torch.empty(8, columns)
    assert rows.read_shape(sf) == {"columns": columns}
    with pytest.raises(ShapeError, match="a call with sf = not MN-major, expected MN-major"):
        mn_major.read_shape(sf)
    sf = torch.empty(columns, 8).T
    assert mn_major.read_shape(sf) == {"columns": columns}
    with pytest.raises(ShapeError, match="a call with sf = strided, expected row-major"):
        rows.read_shape(sf)


@pytest.mark.parametrize("groups", [(), (3,)])
def test_no_rows_give_an_empty_result_in_the_form_of_the_full_one(groups: tuple[int, ...]) -> None:
    import torch

    registry = Registry()
    sf = torch.empty(*groups, 0, 7)
    transposed = registry["get_mn_major_tma_aligned_tensor"].launch(sf)
    packed = registry[_PACKED].launch(sf)
    assert (transposed.shape, transposed.dtype) == ((*groups, 0, 7), torch.float32)
    assert (packed.shape, packed.dtype) == ((*groups, 0, 2), torch.int32)
    assert transposed.stride(-2) == packed.stride(-2) == 1


def test_a_recipe_is_read_however_the_engine_writes_it() -> None:
    import torch

    kernel_type = Registry()["transform_sf_into_required_layout"]
    weight = torch.empty(2, 4)
    blocks = {"k": 512, "rows_per_scale": 128, "columns_per_scale": 128, "disable_ue8m0_cast": False}
    assert kernel_type.read_shape(weight, 256, 512, (1, 128, 128), is_sfa=False) == blocks
    assert kernel_type.read_shape(weight, 256, 512, (128, 128)) == blocks
    rows = {**blocks, "rows_per_scale": 1}
    assert kernel_type.read_shape(weight, 2, 512, (1, 128, 128), None, True) == rows
    assert kernel_type.read_shape(weight, 2, 512, [1, 128]) == rows


@pytest.mark.parametrize(
    ("target", "values", "text"),
    [
        ("h100", {"columns_per_scale": 32}, "32 is refused on sm90"),
        ("b200", {"columns_per_scale": 32, "disable_ue8m0_cast": True}, "packs those always"),
        ("b200", {"rows_per_scale": 32}, "blocks are square: expected 1 or 128, got 32"),
    ],
)
def test_what_deep_gemm_refuses_is_refused(target: str, values: dict[str, object], text: str) -> None:
    kernel_type = Registry()["transform_sf_into_required_layout"]
    with pytest.raises(ShapeError, match=text):
        kernel_type.resolve({"k": 512, **values}, get_target(target))


def test_more_groups_than_the_kernel_takes_are_refused() -> None:
    kernel_type = Registry()["get_k_grouped_mn_major_tma_aligned_packed_ue8m0_tensor"]
    with pytest.raises(ShapeError, match="129 is more than the 128"):
        kernel_type.resolve({"num_groups": 129, "mn": 64}, get_target("b200"))
