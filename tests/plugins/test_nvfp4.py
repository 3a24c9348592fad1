"""NVFP4 mega MoE and its pre-dispatch: formats as DeepGEMM makes them itself, sizes, and calls that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from kregistry import Registry, ShapeError, get_target
from tests.plugins.stack import installed_stack

_SMALL = {"num_experts": 8, "top_k": 2, "hidden": 512, "intermediate": 256, "max_tokens": 384}


@pytest.fixture
def has_nvfp4() -> None:
    if installed_stack() != "0.2":
        pytest.skip("DeepGEMM 0.1 has no NVFP4, and another symmetric buffer")


def _filled(values: dict[str, Any], m: int = 5) -> Any:
    import torch

    kernel_type = Registry()["nvfp4_mega_moe"]
    buffers = kernel_type.allocate_buffers(kernel_type.resolve(values, get_target("b200")), m, "cpu")
    kernel_type.fill(buffers, m, torch.Generator().manual_seed(0))
    return kernel_type, buffers


@pytest.mark.parametrize("name", ["nvfp4_mega_moe", "mega_moe_pre_dispatch_nvfp4"])
def test_deep_gemm_0_1_has_no_nvfp4(name: str) -> None:
    kernel_type = Registry()[name]
    assert kernel_type.unsupported_reason(get_target("b200"), "0.2.3.post2") is None
    assert "DeepGEMM 0.1" in str(kernel_type.unsupported_reason(get_target("b200"), "0.1.4.post1"))


@pytest.mark.parametrize("target", ["h100", "rtx-pro-6000"])
def test_the_mega_moe_is_of_sm100_only(target: str) -> None:
    reason = Registry()["nvfp4_mega_moe"].unsupported_reason(get_target(target), "0.2.3.post2")
    assert "supported: sm100" in str(reason)


def test_weights_are_laid_out_as_deep_gemm_transforms_them(has_nvfp4: None) -> None:
    import deep_gemm
    import torch

    from kregistry_plugins.mega import nvfp4

    kernel_type, buffers = _filled({**_SMALL, "l1_alphas": False, "l2_alphas": False, "l2_act_scales": False})

    def cast(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pairs = [deep_gemm.per_token_cast_to_nvfp4(each, use_packed_ue4m3=True) for each in rows]
        return torch.stack([data for data, _ in pairs]), torch.stack([factors for _, factors in pairs])

    l1, l2 = (torch.stack(layer) for layer in zip(*(kernel_type.expert(buffers, i) for i in range(8))))
    theirs = deep_gemm.transform_weights_for_mega_moe(cast(l1), cast(l2), mma_type="nvfp4xnvfp4")
    ours = kernel_type.arguments(buffers, 5).args[1:3]
    for (data, factors), (wanted, wanted_factors) in zip(ours, theirs):
        found, expected = nvfp4.dequantize(data, factors), nvfp4.dequantize(wanted, wanted_factors)
        assert (found == expected).all() and found.any()


def test_quantisation_is_that_of_deep_gemm(has_nvfp4: None) -> None:
    import deep_gemm
    import torch

    from kregistry_plugins.mega import nvfp4

    values = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    values[0] = 0
    data, factors = torch.empty(64, 128, dtype=torch.int8), torch.empty(64, 4, dtype=torch.int32)
    nvfp4.quantize(values, data, factors)
    theirs = deep_gemm.per_token_cast_to_nvfp4(values, use_packed_ue4m3=True)
    assert (nvfp4.dequantize(data, factors) == nvfp4.dequantize(*theirs)).all()


def test_factors_change_the_numbers_and_nothing_that_they_mean(has_nvfp4: None) -> None:
    """The values of a filled launch are those of a model: weights and outputs have the same size with or without."""
    import torch

    for flag in (True, False):
        values = {**_SMALL, **dict.fromkeys(("use_x_scales", "l1_alphas", "l2_alphas", "l2_act_scales"), flag)}
        kernel_type, buffers = _filled(values)
        l1, _ = kernel_type.expert(buffers, 3)
        assert 0.9 < l1.std() * 512**0.5 < 1.1
        tokens = kernel_type.tokens(kernel_type._inputs(buffers, 5))
        assert 0.9 < tokens.std() < 1.1
        assert torch.isfinite(kernel_type.reference(buffers, 5)["y"]).all()


@pytest.mark.parametrize(
    ("values", "nbytes", "x_scales"),
    [
        ({**_SMALL, "intermediate": 512, "max_tokens": 1920}, 34719104, 34688384),
        (
            {
                "num_experts": 384,
                "top_k": 6,
                "hidden": 7168,
                "intermediate": 3072,
                "max_tokens": 9600,
                "num_ranks": 8,
            },
            8165588864,
            8163661184,
        ),
    ],
)
def test_the_symmetric_buffer_is_as_large_as_deep_gemm_says(
    has_nvfp4: None, values: dict[str, int], nbytes: int, x_scales: int
) -> None:
    """The numbers are of get_symm_buffer_size_for_mega_moe and slice_symm_buffer_for_mega_moe on the stub GPU."""
    kernel_type: Any = Registry()["nvfp4_mega_moe"]
    shape = kernel_type.resolve(values, get_target("b200"))
    assert kernel_type.buffers(shape, 1)["symmetric"].nbytes == nbytes
    assert kernel_type.slots(shape)["x_scales"].offset == x_scales


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"weight_layout": "trtllm"}, "a call with weight_layout = another, expected megamoe"),
        ({"global_num_tokens": 64}, "a call with global_num_tokens = another, expected None"),
        ({"post_expert_norm": True}, "a call with post_expert_norm = another, expected False"),
        ({"post_expert_norm_eps": 1e-5}, "a call with post_expert_norm_eps = another, expected 1e-06"),
        ({"num_tokens_bound": 64}, "a call with num_tokens_bound = another, expected None"),
    ],
)
@pytest.mark.parametrize("name", ["nvfp4_mega_moe", "fp8_fp4_mega_moe"])
def test_calls_with_another_kernel_are_refused(name: str, said: dict[str, object], text: str) -> None:
    kernel_type = Registry()[name]
    shape = kernel_type.resolve({**_SMALL, "intermediate": 512}, get_target("b200"))
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 4, "meta"), 4)
    with pytest.raises(ShapeError, match=text):
        kernel_type.read_shape(*call.args, **{**call.kwargs, **said})


def test_factors_are_read_off_a_call_and_only_nvfp4_has_them() -> None:
    registry = Registry()
    kernel_type = registry["nvfp4_mega_moe"]
    shape = kernel_type.resolve({**_SMALL, "l1_alphas": False, "use_x_scales": False}, get_target("b200"))
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 4, "meta"), 4)
    found = kernel_type.read_shape(*call.args, **call.kwargs)
    assert [found[name] for name in ("use_x_scales", "l1_alphas", "l2_alphas")] == [False, False, True]
    other = registry["fp8_fp4_mega_moe"]
    with pytest.raises(ShapeError, match="a call with mma_type = nvfp4xnvfp4, expected fp8xfp4"):
        other.read_shape(*call.args, **call.kwargs)
    plain = other.arguments(
        other.allocate_buffers(other.resolve({**_SMALL, "intermediate": 512}, shape.target), 4, "meta"), 4
    )
    with pytest.raises(ShapeError, match="a call with l2_alphas = another, expected None"):
        other.read_shape(*plain.args, **plain.kwargs, l2_alphas=call.kwargs["l2_alphas"])


def test_each_pre_dispatch_takes_its_own_calls() -> None:
    registry = Registry()
    names = ("mega_moe_pre_dispatch", "mega_moe_pre_dispatch_nvfp4")
    for owner, other in (names, names[::-1]):
        kernel_type = registry[owner]
        shape = kernel_type.resolve({"hidden": 256, "top_k": 4}, get_target("b200"))
        call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 4, "meta"), 3)
        assert kernel_type.read_shape(*call.args, **call.kwargs)["hidden"] == 256
        with pytest.raises(ShapeError, match="a call with mma_type"):
            registry[other].read_shape(*call.args, **call.kwargs)


def test_a_token_is_scaled_as_a_whole_before_it_is_quantised() -> None:
    import torch

    kernel_type = Registry()["mega_moe_pre_dispatch_nvfp4"]
    shape = kernel_type.resolve({"hidden": 128, "top_k": 1}, get_target("b200"))
    buffers = kernel_type.allocate_buffers(shape, 2, "cpu")
    kernel_type.fill(buffers, 2, torch.Generator().manual_seed(0))
    buffers.x[1] *= 1000
    found = kernel_type.reference(buffers, 2)["tokens"]
    for row in range(2):
        x = buffers.x[row].float()
        assert ((found[row] - x).norm() / x.norm()) < 0.15
