"""Calls of the mega kernels: what is refused, and how calls of both DeepGEMM versions are read."""

from __future__ import annotations

import pytest

from kregistry import Registry, ShapeError, get_target


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"hidden": 8320, "top_k": 8}, "8320 is more than the 8192 that DeepGEMM takes"),
        ({"hidden": 128, "top_k": 17}, "17 is more than the 16 of hidden = 128"),
        ({"hidden": 384, "top_k": 8, "group_size": 128}, "expected a multiple of 512, four scale factors, got 384"),
    ],
)
def test_pre_dispatch_refuses_what_deep_gemm_asserts(values: dict[str, object], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        Registry()["mega_moe_pre_dispatch"].resolve(values, get_target("b200"))


@pytest.mark.parametrize("last", [{"use_fp4_acts": True}, {"mma_type": "mxf4xmxf4"}])
def test_fp4_tokens_are_read_off_calls_of_both_versions(last: dict[str, object]) -> None:
    kernel_type = Registry()["mega_moe_pre_dispatch"]
    values = {"hidden": 256, "top_k": 4, "group_size": 32, "activations": "fp4"}
    shape = kernel_type.resolve(values, get_target("b200"))
    *args, _ = kernel_type.arguments(kernel_type.allocate_buffers(shape, 4, "meta"), 4).args
    assert kernel_type.read_shape(*args, **last) == values
    assert kernel_type.read_shape(*args, *last.values()) == values
    assert kernel_type.read_shape(*args, False)["activations"] == "fp8"
    with pytest.raises(ShapeError, match="a call with mma_type = nvfp4xnvfp4, expected"):
        kernel_type.read_shape(*args, "nvfp4xnvfp4")
