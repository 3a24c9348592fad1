"""The first rule of the conformance kit that a kernel type breaks without a GPU."""

from __future__ import annotations

from kregistry.conformance import Level, Machine
from kregistry.conformance.run import ConformanceRun, Verdict
from kregistry.kernel_type import KernelType


def first_failure(kernel_type: KernelType, machine: Machine) -> str:
    outcomes = ConformanceRun(kernel_type, machine, Level.STUB).outcomes()
    return next((each.check.rule.id for each in outcomes if each.verdict is Verdict.FAILED), "")
