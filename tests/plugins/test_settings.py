"""DeepGEMM's process-wide settings are in force around the calls of a shape, and read off real calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_stub import answer

from kregistry import Registry, ShapeError, get_target, make_plan
from kregistry.deep_gemm.settings import applied
from manifests import read, with_kernels


def test_mk_alignment_is_in_force_around_the_calls_of_a_shape_only() -> None:
    import deep_gemm

    kernel_type = Registry()["m_grouped_bf16_gemm_nt_contiguous"]
    shape = kernel_type.resolve({"num_groups": 2, "n": 64, "k": 64, "mk_alignment": 64}, get_target("h100"))
    before = deep_gemm.get_mk_alignment_for_contiguous_layout()
    with pytest.raises(RuntimeError, match="inside"), applied(kernel_type, shape):
        assert deep_gemm.get_mk_alignment_for_contiguous_layout() == 64 != before
        raise RuntimeError("inside")
    assert deep_gemm.get_mk_alignment_for_contiguous_layout() == before


def test_num_sms_is_a_dimension_that_is_left_out_at_its_default() -> None:
    kernel_type = Registry()["fp8_gemm_nt"]
    values = {"n": 256, "k": 512}
    shape = kernel_type.resolve(values, get_target("h100"))
    assert (shape.num_sms, str(shape)) == (132, "n=256 k=512 scales=f32")
    assert shape == kernel_type.resolve({**values, "num_sms": 132}, get_target("h100"))
    reduced = kernel_type.resolve({**values, "num_sms": 112}, get_target("h100"))
    assert str(reduced) == "n=256 k=512 scales=f32 num_sms=112" and reduced != shape
    assert kernel_type.resolve(reduced.shown(), get_target("h100")) == reduced


@pytest.mark.parametrize(
    ("num_sms", "text"), [(111, "a multiple of 2, got 111"), (134, "134 is more than the 132 of h100")]
)
def test_a_number_of_sms_that_deep_gemm_asserts_against_is_refused(num_sms: int, text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        Registry()["fp8_gemm_nt"].resolve({"n": 256, "k": 512, "num_sms": num_sms}, get_target("h100"))


def test_other_numbers_of_sms_have_other_kernels(tmp_path: Path) -> None:
    """SGLang's two-batch overlap reduces the number around single calls; mk_alignment is in force besides."""
    text = with_kernels(
        "{type: m_grouped_bf16_gemm_nt_contiguous, "
        "shape: {num_groups: 2, n: 512, k: 512, mk_alignment: 64, num_sms: [132, 112]}, m: {start: 64, stop: 512}}",
        "{type: m_grouped_bf16_gemm_nt_contiguous, shape: {num_groups: 2, n: 512, k: 512, mk_alignment: 64}, "
        "m: {start: 64, stop: 512}}",
    )
    plan = make_plan(read(text), Registry(), processes=1, stub_directory=tmp_path)
    assert plan.problems() == ()
    all_sms, fewer, default = (set(planned.kernels()) for planned in plan.entries)
    assert all_sms == default != fewer
    assert all_sms and fewer and not all_sms & fewer


def test_num_sms_is_in_force_around_the_calls_of_a_shape_and_read_off_a_call(tmp_path: Path) -> None:
    assert answer(_READS_NUM_SMS, tmp_path) == {"before": [132, None], "inside": [112, 112], "after": [132, None]}


def test_a_class_below_one_that_declares_num_sms_reads_it_too(tmp_path: Path) -> None:
    """Its shape_of() is its own; the settings are inherited."""
    kernel_type = Registry()["fp8_gemm_nt_skip_head_mid"]
    assert [dimension.name for dimension in kernel_type.all_dimensions].count("num_sms") == 1
    script = _READS_NUM_SMS.replace('"fp8_gemm_nt"', '"fp8_gemm_nt_skip_head_mid"')
    assert answer(script, tmp_path) == {"before": [132, None], "inside": [112, 112], "after": [132, None]}


def test_declaring_a_class_changes_no_other() -> None:
    """Each has what it declares or inherits, whatever is declared below it."""
    declared = {each.kernel_type.name: each.kernel_type.settings for each in Registry().registrations()}
    base = type(Registry()["bf16_gemm_nt"])
    before = dict(vars(base))
    type("Fewer", (base,), {"settings": ()})
    assert dict(vars(base)) == before
    assert {each.kernel_type.name: each.kernel_type.settings for each in Registry().registrations()} == declared


def test_a_reduced_number_returns_after_a_plan_for_all_sms(tmp_path: Path) -> None:
    """An engine calls with fewer SMs than the device has; a warm-up in the same process needs all of them."""
    script = """
from kregistry import Registry, get_target
from kregistry.deep_gemm.settings import applied
kernel_type = Registry()["fp8_gemm_nt"]
shape = kernel_type.resolve({"n": 256, "k": 512}, get_target("b200"))
deep_gemm.set_num_sms(100)
with applied(kernel_type, shape):
    inside = deep_gemm.get_num_sms()
answer(inside=inside, after=deep_gemm.get_num_sms())
"""
    assert answer(script, tmp_path) == {"inside": 132, "after": 100}


_READS_NUM_SMS = """
from kregistry import Registry, get_target
from kregistry.deep_gemm.settings import applied, read_call
kernel_type = Registry()["fp8_gemm_nt"]
shape = kernel_type.resolve({"n": 256, "k": 512, "num_sms": 112}, get_target("h100"))
call = kernel_type.arguments(kernel_type.allocate_buffers(shape, 4), 4)
look = lambda: [deep_gemm.get_num_sms(), read_call(kernel_type, call.args, call.kwargs).get("num_sms")]
seen = {"before": look()}
with applied(kernel_type, shape):
    seen["inside"] = look()
answer(**seen, after=look())
"""
