"""The conformance kit on a real device: the good kernel types pass, and what only a GPU shows is found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from good_kernel_types import PlainGemm, plain_gemm
from warms_up_one_kernel import WarmsUpOneKernel

from kregistry import KernelType
from kregistry.conformance import Machine
from kregistry.conformance.rules import RULES
from kregistry.conformance.run import ConformanceRun, Verdict
from kregistry.registry import Registry

if TYPE_CHECKING:
    import torch


class OnDevice(PlainGemm):
    proof = evolve(PlainGemm.proof, devices=("cuda",))

    def function(self) -> Callable[..., Any]:
        return self.compute

    def compute(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, num_splits: int = 1) -> None:
        plain_gemm(a, b, d)


class DefaultStreamOnly(OnDevice):
    def compute(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, num_splits: int = 1) -> None:
        import torch

        with torch.cuda.stream(torch.cuda.default_stream()):
            plain_gemm(a, b, d)


class WaitsForTheDevice(OnDevice):
    def compute(self, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, num_splits: int = 1) -> None:
        import torch

        plain_gemm(a, b, d)
        torch.cuda.synchronize()


class UndeclaredWorkspace(OnDevice):
    """The products in float32, and float32 copies, are not in any declared requirement."""


@pytest.fixture(scope="module")
def machine(workplace: object) -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


@pytest.mark.parametrize(
    ("rule", "kernel_type", "message"),
    [
        ("KR306", DefaultStreamOnly(), "a launch on a busy stream: got a difference of"),
        ("KR307", WaitsForTheDevice(), r"execute\(buffers, m\) under capture: got"),
        ("KR308", UndeclaredWorkspace(), r"got \d+ \+ 0 bytes, expected at least the \d+ in use"),
        ("KR309", WarmsUpOneKernel(), r"serving after a warm-up at .*: got DeepGEMM compiled"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_only_a_device_shows(machine: Machine, rule: str, kernel_type: KernelType, message: str) -> None:
    (check,) = RULES[rule].checks()
    outcome = ConformanceRun(kernel_type, machine).outcome(check)
    assert outcome.verdict is Verdict.FAILED, outcome.reason
    assert re.search(message, outcome.reason)


@pytest.mark.parametrize("name", Registry().names())
def test_installed_kernel_types_keep_every_rule(machine: Machine, name: str) -> None:
    from kregistry.conformance.rule import Level

    outcomes = ConformanceRun(Registry()[name], machine, Level.GPU).outcomes()
    assert [each.reason for each in outcomes if each.verdict is Verdict.FAILED] == []
