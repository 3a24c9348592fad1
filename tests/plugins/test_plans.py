"""Plans of the catalogue on the stub GPU agree with the measured kernel counts; what DeepGEMM refuses is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry import Registry, ShapeError, get_target, make_plan
from kregistry.manifest import Manifest
from kregistry.manifest.document import parse_document
from kregistry.manifest.reader import read_manifest
from kregistry.plan import Plan
from tests.plugins.catalogue_cases import CASES, Case


def _manifest(registry: Registry, target: str, cases: list[Case]) -> Manifest:
    lines = ["version: 1", f"target: {target}", "models:", "  catalogue:", "    kernels:"]
    for index, (kernel_type, shape, (start, stop, step), _, _) in enumerate(cases):
        run = registry[kernel_type].run_dimension.name
        shape_text = "{" + ", ".join(f"{key}: {str(value).lower()}" for key, value in shape.items()) + "}"
        lines.append(f"      - type: {kernel_type}\n        label: case{index}\n        shape: {shape_text}")
        lines.append(f"        {run}: {{start: {start}, stop: {stop}, step: {step}}}")
    return read_manifest(parse_document("\n".join(lines) + "\n", "catalogue.yaml"), registry)


def _resolves(registry: Registry, target: str, case: Case) -> bool:
    try:
        registry[case[0]].resolve(case[1], get_target(target))
    except ShapeError:
        return False
    return True


@pytest.mark.parametrize(("target", "column"), [("h100", 3), ("b200", 4)])
def test_kernel_counts_are_those_measured(target: str, column: int, tmp_path: Path) -> None:
    registry = Registry()
    cases = [case for case in CASES if _resolves(registry, target, case)]
    refused_early = [case for case in CASES if case not in cases]
    assert [case[column] for case in refused_early] == [None] * len(refused_early)
    plan: Plan = make_plan(_manifest(registry, target, cases), registry, processes=2, stub_directory=tmp_path)
    found = {
        planned.entry.label: len(planned.kernels()) if not planned.problems() else None for planned in plan.entries
    }
    problems = {planned.entry.label: planned.problems() for planned in plan.entries}
    expected = {f"case{index}": case[column] for index, case in enumerate(cases)}
    assert found == expected, problems


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{index}" for index, case in enumerate(CASES)])
@pytest.mark.parametrize("target", ["h100", "b200"])
def test_bytes_and_arguments_agree_with_the_declaration(case: Case, target: str) -> None:
    registry = Registry()
    if not _resolves(registry, target, case):
        assert case[3 if target == "h100" else 4] is None
        return
    kernel_type = registry[case[0]]
    shape = kernel_type.resolve(case[1], get_target(target))
    top = kernel_type.run_dimension.step * 2
    buffers = kernel_type.allocate_buffers(shape, top, "meta")
    total = sum(tensor.untyped_storage().nbytes() for tensor in buffers.tensors.values())
    assert total == kernel_type.memory_requirement(shape, top)
    call = kernel_type.arguments(buffers, top)
    assert kernel_type.read_m(*call.args, **call.kwargs) == top
    with kernel_type.scope(shape):
        assert kernel_type.resolve(kernel_type.read_shape(*call.args, **call.kwargs), get_target(target)) == shape
