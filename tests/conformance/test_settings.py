"""What surrounds the calls of the kit: the settings of the shape, and the processes that a launch waits for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from attrs import evolve
from good_kernel_types import Bf16Gemm, PlainGemm, plain_gemm

from kregistry import MK_ALIGNMENT, ShapeError
from kregistry.conformance import Level, Machine, examine
from kregistry.conformance.run import Outcome, Verdict
from kregistry.kernel_type import Arguments, Buffers, KernelType, Shape, Value
from kregistry.stub.library import default_stub_directory

ALIGNMENT = {"mk_alignment": 64}


def _alignment() -> int:
    import deep_gemm

    return int(deep_gemm.get_mk_alignment_for_contiguous_layout())


class NeedsASetting(PlainGemm):
    """Works with another alignment than the default only."""

    settings = (MK_ALIGNMENT,)
    proof = evolve(PlainGemm.proof, examples=tuple({**each, **ALIGNMENT} for each in PlainGemm.proof.examples))

    def function(self) -> Callable[..., Any]:
        assert _alignment() == 64
        return plain_gemm

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        assert _alignment() == 64
        return super().shape_of(call)

    def check(self, shape: Shape) -> None:
        if shape.mk_alignment != 64:
            raise ShapeError(self.name, "mk_alignment", f"takes 64, got {shape.mk_alignment}")


class NeedsASettingOnCuda(Bf16Gemm):
    settings = (*Bf16Gemm.settings, MK_ALIGNMENT)
    proof = evolve(Bf16Gemm.proof, examples=tuple({**each, **ALIGNMENT} for each in Bf16Gemm.proof.examples))

    def execute(self, buffers: Buffers, m: int) -> Any:
        assert _alignment() == buffers.shape.mk_alignment
        return super().execute(buffers, m)


class NeedsDeepGemm(PlainGemm):
    """Its setting is another one's than DeepGEMM's default."""

    settings = (MK_ALIGNMENT,)
    proof = NeedsASetting.proof


class WaitsForOthers(PlainGemm):
    def collective(self, shape: Shape) -> str | None:
        return "2 ranks launch it together"


def _outcomes(kernel_type: KernelType, required: Level) -> dict[str, Outcome]:
    with Machine(default_stub_directory()) as machine:
        return {each.check.id: each for each in examine(kernel_type, machine, required)}


def _failures(outcomes: Mapping[str, Outcome]) -> list[str]:
    return [each.reason for each in outcomes.values() if each.verdict is Verdict.FAILED]


def test_launches_on_a_cpu_and_reads_of_calls_are_inside_the_settings() -> None:
    outcomes = _outcomes(NeedsASetting(), Level.ANYWHERE)
    assert _failures(outcomes) == []
    assert outcomes["KR115-tail"].verdict is outcomes["KR301-tail"].verdict is Verdict.PASSED
    assert _alignment() == 128


def test_launches_on_the_stub_gpu_are_inside_the_settings() -> None:
    outcomes = _outcomes(NeedsASettingOnCuda(), Level.STUB)
    assert _failures(outcomes) == []
    assert outcomes["KR201"].verdict is Verdict.PASSED


def test_without_deep_gemm_what_needs_one_of_its_settings_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deep_gemm", None)
    outcome = _outcomes(NeedsDeepGemm(), Level.ANYWHERE)["KR115-tail"]
    assert outcome.verdict is Verdict.SKIPPED
    assert outcome.reason == "a setting of the shape is DeepGEMM's, which is not installed"


def test_what_waits_for_other_processes_is_not_tried_on_a_device() -> None:
    outcomes = _outcomes(WaitsForOthers(), Level.ANYWHERE)
    assert _failures(outcomes) == []
    assert outcomes["KR301-tail"].reason == "no example shape is for this device"
    assert outcomes["KR115-tail"].verdict is Verdict.PASSED
