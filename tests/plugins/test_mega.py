"""Calls of the mega kernels: what is refused, and how calls of both DeepGEMM versions are read."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import pytest

from kregistry import Registry, ShapeError, get_target, make_plan
from kregistry.manifest import Entry, Manifest, Range
from tests.plugins.stack import installed_stack


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


def test_small_tokens_are_quantised_with_the_least_maximum_of_the_kernel() -> None:
    """1e-10 for SM90, whose scale factors are FP32; 1e-4 for the others."""
    import torch

    for name, least in (("mega_moe_pre_dispatch_sm90", 1e-10), ("mega_moe_pre_dispatch", 1e-4)):
        kernel_type = Registry()[name]
        shape = kernel_type.resolve({"hidden": 256, "top_k": 2}, get_target("h100"))
        buffers = kernel_type.allocate_buffers(shape, 1, "cpu")
        kernel_type.fill(buffers, 1, torch.Generator().manual_seed(0))
        buffers.x.fill_(2.0**-15)
        group = 448 * 2.0**-15 / max(2.0**-15, least)  # the number that is rounded to FP8
        wanted = 2.0**-15 * float(torch.tensor(group).to(torch.float8_e4m3fn)) / group
        if name == "mega_moe_pre_dispatch_sm90":
            assert kernel_type.reference(buffers, 1)["tokens"][0, 0] == pytest.approx(wanted)
        else:  # a power of two loses nothing
            assert kernel_type.reference(buffers, 1)["tokens"][0, 0] == 2.0**-15


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


_MOE = {"num_experts": 256, "top_k": 8, "hidden": 7168, "intermediate": 2048, "max_tokens": 1152}


@pytest.mark.parametrize(
    "values",
    [
        _MOE,
        {**_MOE, "num_ranks": 8},
        {"num_experts": 64, "top_k": 6, "hidden": 4096, "intermediate": 4096, "max_tokens": 7680, "num_ranks": 2},
        {"num_experts": 3, "top_k": 3, "hidden": 512, "intermediate": 256, "max_tokens": 384},
    ],
)
def test_the_symmetric_buffer_of_sm90_is_as_large_as_deep_gemm_says(values: dict[str, int]) -> None:
    import deep_gemm

    kernel_type = Registry()["fp8_mega_moe"]
    shape = kernel_type.resolve(values, get_target("h100"))
    sizes = (shape.num_ranks, shape.num_experts, shape.max_tokens, shape.top_k, shape.hidden, shape.intermediate)
    said = deep_gemm._C.get_symm_buffer_size_for_sm90_mega_moe(*sizes, True, "swiglu")
    wanted = said if isinstance(said, int) else said[0]  # DeepGEMM 0.1 adds a function that slices it
    assert kernel_type.buffers(shape, 1)["symmetric"].nbytes == wanted


def test_one_rank_is_launched_alone_and_more_are_not() -> None:
    kernel_type = Registry()["fp8_mega_moe"]
    alone, together = (kernel_type.resolve({**_MOE, "num_ranks": n}, get_target("h100")) for n in (1, 8))
    assert kernel_type.collective(alone) is None
    assert kernel_type.collective(together) == "8 ranks launch it together, and wait for each other"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"num_ranks": 3}, "expected a multiple of num_ranks = 3, got 256"),
        ({"num_ranks": 128}, "128 is more than the 72"),
        ({"intermediate": 4352}, "4352 is more than the 4096"),
        ({"max_tokens": 1024}, "a multiple of 384, got 1024"),
        ({"num_experts": 4}, "8 is more than num_experts = 4"),
    ],
)
def test_fp8_mega_moe_refuses_what_deep_gemm_asserts(values: dict[str, int], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        Registry()["fp8_mega_moe"].resolve({**_MOE, **values}, get_target("h100"))


def test_a_bound_that_no_manifest_can_say_is_refused() -> None:
    kernel_type = Registry()["fp8_mega_moe"]
    shape = kernel_type.resolve({**_MOE, "activation_clamp": 10}, get_target("h100"))
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 4, "meta"), 4)
    assert kernel_type.read_shape(*call.args, **call.kwargs)["activation_clamp"] == 10
    with pytest.raises(ShapeError, match=r"expected a whole number, got 7\.5"):
        kernel_type.read_shape(*call.args, **{**call.kwargs, "activation_clamp": 7.5})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"num_experts": 516, "top_k": 8}, "516 is more than the 512"),
        ({"num_experts": 256, "top_k": 33}, "33 is more than the 32"),
        ({"num_experts": 4, "top_k": 5}, "5 is more than the 4"),
    ],
)
def test_the_router_refuses_what_deep_gemm_asserts(values: dict[str, int], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        Registry()["bf16_mega_gate"].resolve({"hidden": 512, **values}, get_target("b200"))


@pytest.mark.parametrize(
    ("name", "later", "versions"),
    [
        ("mega_mhc", "", ">=0.2"),
        ("bf16_mega_gate", "; 0.2.5 asserts scoring_func == 'sqrtsoftplus' (mega_gate.hpp)", ">=0.2,!=0.2.5"),
    ],
)
def test_kernels_of_deep_gemm_0_2_say_so(name: str, later: str, versions: str) -> None:
    kernel_type = Registry()[name]
    assert kernel_type.unsupported_reason(get_target("b200"), "0.2.3.post2") is None
    old = kernel_type.unsupported_reason(get_target("b200"), "0.1.4.post1")
    assert old == f"DeepGEMM 0.1 has no {name}{later} (needs DeepGEMM {versions}, found 0.1.4.post1)"
    assert "supported: sm100" in str(kernel_type.unsupported_reason(get_target("h100"), "0.2.3.post2"))


_SM100_SIZES = [
    {"num_experts": 8, "top_k": 2, "hidden": 512, "intermediate": 512, "max_tokens": 384},
    {"num_experts": 384, "top_k": 6, "hidden": 7168, "intermediate": 3072, "max_tokens": 8448, "num_ranks": 8},
    {"num_experts": 256, "top_k": 6, "hidden": 4096, "intermediate": 2048, "max_tokens": 1152, "num_ranks": 8},
]


@pytest.mark.parametrize("values", _SM100_SIZES)
@pytest.mark.parametrize(("name", "mma_type"), [("fp8_fp4_mega_moe", "fp8xfp4"), ("bf16_mega_moe", "bf16xbf16")])
def test_the_symmetric_buffer_of_sm100_is_as_large_as_deep_gemm_says(
    name: str, mma_type: str, values: dict[str, int]
) -> None:
    import deep_gemm

    if installed_stack() != "0.1":
        pytest.skip("DeepGEMM 0.2 asks a device for it")
    kernel_type = Registry()[name]
    shape = kernel_type.resolve(values, get_target("b200"))
    sizes = (shape.num_ranks, shape.num_experts, shape.max_tokens, shape.top_k, shape.hidden, shape.intermediate)
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 1, "meta"), 1)
    ring = call.args[-1].num_ring_tokens
    wanted, _ = deep_gemm._C.get_symm_buffer_size_for_mega_moe(*sizes, mma_type, "swiglu", ring)
    assert kernel_type.buffers(shape, 1)["symmetric"].nbytes == wanted


def test_mega_moe_calls_with_shared_experts_or_other_dtypes_are_refused() -> None:
    kernel_type = Registry()["fp8_fp4_mega_moe"]
    shape = kernel_type.resolve(_SM100_SIZES[0], get_target("b200"))
    y, l1, l2, symmetric = kernel_type.arguments(kernel_type.allocate_buffers(shape, 4, "meta"), 4).args
    counts = l2[1].new_zeros(8)
    assert kernel_type.resolve(kernel_type.read_shape(y, l1, l2, symmetric, counts), get_target("b200")) == shape
    with pytest.raises(ShapeError, match="a call with shared experts = some, expected none"):
        kernel_type.read_shape(y, l1, l2, symmetric, l1)
    with pytest.raises(ShapeError, match="a call with activation = situ, expected swiglu"):
        kernel_type.read_shape(y, l1, l2, symmetric, activation="situ")
    other = attrs.evolve(symmetric, mma_type="nvfp4xnvfp4")
    with pytest.raises(ShapeError, match="a call with mma_type = nvfp4xnvfp4, expected fp8xfp4"):
        kernel_type.read_shape(y, l1, l2, other)


def test_shared_experts_of_fp8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since DeepGEMM 0.2: a dimension, read from the rows of their weights; 0.1 is told apart before the launch."""
    kernel_type = Registry()["fp8_fp4_mega_moe"]
    values = {**_SM100_SIZES[0], "max_tokens": 1920, "num_shared_experts": 2}
    monkeypatch.setattr("kregistry_plugins.installed.is_first_series", lambda: True)
    with pytest.raises(ShapeError, match=r"DeepGEMM 0\.1 computes no shared experts"):
        kernel_type.resolve(values, get_target("b200"))
    monkeypatch.setattr("kregistry_plugins.installed.is_first_series", lambda: False)
    shape = kernel_type.resolve(values, get_target("b200"))
    call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 4, "meta"), 4)
    assert call.kwargs["shared_l2_weights"][0].shape == (512, 2 * 512)
    assert kernel_type.resolve(kernel_type.read_shape(*call.args, **call.kwargs), get_target("b200")) == shape
    plain = kernel_type.resolve({**values, "num_shared_experts": 0}, get_target("b200"))
    more = kernel_type.memory_requirement(shape, 4) - kernel_type.memory_requirement(plain, 4)
    assert more > 1920 * (5 * 512 + 3 * 2 * 512) // 2


def test_no_daemon_is_started_for_a_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The module that starts it came after the DeepGEMM that the tests run with: one with its name stands for it."""
    import deep_gemm.utils

    from kregistry_plugins.mega import moe_sm100

    (tmp_path / "mlopart.py").write_text("def is_available(user):\n    return True\n")
    monkeypatch.setattr(deep_gemm.utils, "__path__", [*deep_gemm.utils.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "deep_gemm.utils.mlopart", raising=False)
    monkeypatch.delattr(deep_gemm.utils, "mlopart", raising=False)
    moe_sm100._partitions.cache_clear()
    kernel_type = Registry()["fp8_fp4_mega_moe"]
    answers: list[bool] = []
    monkeypatch.setattr(
        type(kernel_type),
        "launch",
        lambda *_, **__: answers.append(sys.modules["deep_gemm.utils.mlopart"].is_available("user")),
    )
    shape = kernel_type.resolve(_SM100_SIZES[0], get_target("b200"))
    kernel_type.execute(kernel_type.allocate_buffers(shape, 1, "meta"), 1)
    assert answers == [False]
    assert sys.modules["deep_gemm.utils.mlopart"].is_available("user")
    del sys.modules["deep_gemm.utils.mlopart"], deep_gemm.utils.mlopart
    moe_sm100._partitions.cache_clear()


@pytest.mark.stub
def test_case_11_two_sms_fewer_are_other_kernels(stub_directory: Path) -> None:
    """SGLang leaves two SMs of a B200 to communication while a mega MoE runs: no kernel is shared with those at 148."""
    target, kernel_type = get_target("b200"), Registry()["fp8_fp4_mega_moe"]
    values = kernel_type.proof.examples[0]
    entries = tuple(
        Entry("m", "", kernel_type.resolve({**values, "num_sms": sms}, target), Range("tokens", 1, 64, 1))
        for sms in (146, 148)
    )
    manifest = Manifest("k.yaml", target, ("m",), entries, {})
    plan = make_plan(manifest, Registry(), processes=1, stub_directory=stub_directory)
    assert plan.problems() == ()
    fewer, all_of_them = (set(planned.kernels()) for planned in plan.entries)
    assert fewer and all_of_them and fewer.isdisjoint(all_of_them)


@pytest.mark.stub
@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "name"), [("h100", "fp8_mega_moe"), ("b200", "fp8_gemm_nt"), ("h100", "m_grouped_fp8_gemm_nt_masked")]
)
def test_two_sms_fewer_are_other_kernels_on_other_devices_and_of_other_types(
    stub_directory: Path, device: str, name: str
) -> None:
    """As case 11: kernels of both numbers of SMs are planned, and each number has the ones of its own."""
    target, kernel_type = get_target(device), Registry()[name]
    values = {**kernel_type.proof.examples[0]}
    run = kernel_type.run_dimension
    entries = tuple(
        Entry(
            "m", "", kernel_type.resolve({**values, "num_sms": sms}, target), Range(run.name, run.start, 64, run.step)
        )
        for sms in (target.num_sms - 2, target.num_sms)
    )
    manifest = Manifest("k.yaml", target, ("m",), entries, {})
    plan = make_plan(manifest, Registry(), processes=1, stub_directory=stub_directory)
    assert plan.problems() == ()
    fewer, all_of_them = (set(planned.kernels()) for planned in plan.entries)
    assert fewer and all_of_them and fewer != all_of_them
