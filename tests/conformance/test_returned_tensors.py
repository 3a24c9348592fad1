"""What a launch returns may be one of its inputs, also if it comes back through DLPack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from good_kernel_types import PlainGemm, plain_gemm

from kregistry.conformance import Machine
from kregistry.conformance.rules import RULES
from kregistry.conformance.run import ConformanceRun, Verdict
from kregistry.kernel_type import Arguments, Buffers
from kregistry.stub.library import default_stub_directory

if TYPE_CHECKING:
    import torch


class ReturnsItsInput(PlainGemm):
    """As ``transform_sf_into_required_layout`` on an H200 with scale factors of blocks."""

    through_dlpack = False

    def function(self) -> Callable[..., Any]:
        return self.compute

    def compute(self, a: Any, b: Any, d: Any, num_splits: int = 1) -> torch.Tensor:
        import torch

        plain_gemm(a, b, d)
        result: torch.Tensor = torch.from_dlpack(a) if self.through_dlpack else a
        return result

    def empty_result(self, call: Arguments) -> Any:
        return call.a

    def returned(self, value: torch.Tensor, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"same": value}

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": super().reference(buffers, m)["d"], "same": buffers.a[:m]}


class ReturnsItsInputThroughDlpack(ReturnsItsInput):
    through_dlpack = True


@pytest.mark.parametrize("kernel_type", [ReturnsItsInput, ReturnsItsInputThroughDlpack])
def test_an_input_that_is_returned_may_change_with_the_next_launch(kernel_type: type[PlainGemm]) -> None:
    with Machine(default_stub_directory()) as machine:
        (check,) = RULES["KR317"].checks()
        outcome = ConformanceRun(kernel_type(), machine).outcome(check)
    assert outcome.verdict is Verdict.PASSED, outcome.reason
