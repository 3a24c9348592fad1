"""What surrounds the calls of the kit: the scope of the shape, and the processes that a launch waits for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from good_kernel_types import Bf16Gemm, PlainGemm, plain_gemm

from kregistry.conformance import Level, Machine, examine
from kregistry.conformance.run import Outcome, Verdict
from kregistry.kernel_type import Buffers, KernelType, Shape, Value
from kregistry.stub.library import default_stub_directory

#: A process-wide setting that calls need, as DeepGEMM has some.
SETTING = "KREGISTRY_TEST_SETTING"


@contextmanager
def _setting() -> Iterator[None]:
    os.environ[SETTING] = "1"
    try:
        yield
    finally:
        del os.environ[SETTING]


class NeedsASetting(PlainGemm):
    def scope(self, shape: Shape) -> Any:
        return _setting()

    def function(self) -> Callable[..., Any]:
        os.environ[SETTING]
        return plain_gemm

    def read_shape(self, *args: Any, **kwargs: Any) -> Mapping[str, Value]:
        os.environ[SETTING]
        return super().read_shape(*args, **kwargs)


class NeedsASettingOnCuda(Bf16Gemm):
    def scope(self, shape: Shape) -> Any:
        return _setting()

    def execute(self, buffers: Buffers, m: int) -> Any:
        os.environ[SETTING]
        return super().execute(buffers, m)


class NeedsDeepGemm(PlainGemm):
    def scope(self, shape: Shape) -> Any:
        raise ModuleNotFoundError("No module named 'deep_gemm'", name="deep_gemm")


class WaitsForOthers(PlainGemm):
    def collective(self, shape: Shape) -> str | None:
        return "2 ranks launch it together"


def _outcomes(kernel_type: KernelType, required: Level) -> dict[str, Outcome]:
    with Machine(default_stub_directory()) as machine:
        return {each.check.id: each for each in examine(kernel_type, machine, required)}


def _failures(outcomes: Mapping[str, Outcome]) -> list[str]:
    return [each.reason for each in outcomes.values() if each.verdict is Verdict.FAILED]


def test_launches_on_a_cpu_and_reads_of_calls_are_inside_the_scope() -> None:
    outcomes = _outcomes(NeedsASetting(), Level.ANYWHERE)
    assert _failures(outcomes) == []
    assert outcomes["KR115-tail"].verdict is outcomes["KR301-tail"].verdict is Verdict.PASSED
    assert SETTING not in os.environ


def test_launches_on_the_stub_gpu_are_inside_the_scope() -> None:
    outcomes = _outcomes(NeedsASettingOnCuda(), Level.STUB)
    assert _failures(outcomes) == []
    assert outcomes["KR201"].verdict is Verdict.PASSED


def test_without_deep_gemm_what_is_inside_a_scope_that_sets_it_is_skipped() -> None:
    outcome = _outcomes(NeedsDeepGemm(), Level.ANYWHERE)["KR115-tail"]
    assert outcome.verdict is Verdict.SKIPPED
    assert outcome.reason == "its scope sets something in DeepGEMM, which is not installed"


def test_what_waits_for_other_processes_is_not_tried_on_a_device() -> None:
    outcomes = _outcomes(WaitsForOthers(), Level.ANYWHERE)
    assert _failures(outcomes) == []
    assert outcomes["KR301-tail"].reason == "no example shape is for this device"
    assert outcomes["KR115-tail"].verdict is Verdict.PASSED
