"""Plans of the catalogue on the stub GPU agree with the measured kernel counts; what DeepGEMM refuses is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from once import Once

from kregistry import Registry, ShapeError, get_target
from kregistry.deep_gemm.settings import applied, read_call
from tests.plugins.catalogue_cases import CASES, Case
from tests.plugins.planned_counts import TARGETS, Count, name_of, planned_counts
from tests.plugins.stack import installed_stack
from tools.catalogue import recorded_counts

Plan = Callable[[str], Mapping[str, Count]]


@pytest.fixture(scope="module")
def plan(stub_directory: Path, once: Once) -> Plan:
    """Plans a target once."""
    return cache(lambda target: once(f"catalogue-{target}", lambda: planned_counts(Registry(), target, stub_directory)))


def _measured(case: Case, target: str) -> Count | None:
    """What an independent program has found; -1: it does not say."""
    if installed_stack() == "0.1":
        return {"h100": case[3], "b200": case[4]}.get(target, -1)
    return dict(zip(TARGETS, case[5])).get(target, -1) if len(case) > 5 else -1


@pytest.mark.parametrize("target", TARGETS)
def test_kernel_counts_are_those_measured(target: str, plan: Plan) -> None:
    found = plan(target)
    measured = {name_of(case): _measured(case, target) for case in CASES}
    differ = {
        name: f"found {found[name]}, measured {count}"
        for name, count in measured.items()
        if count != -1 and count != (found[name] if isinstance(found[name], int) else None)
    }
    assert differ == {}


@pytest.mark.parametrize("target", TARGETS)
def test_kernel_counts_are_those_of_the_documentation(target: str, plan: Plan) -> None:
    """Refusals by their reasons. Mend it with `python tools/catalogue.py plan` on each stack, and then `write`."""
    assert recorded_counts(installed_stack(), target) == plan(target)


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{index}" for index, case in enumerate(CASES)])
@pytest.mark.parametrize("target", ["h100", "b200"])
def test_bytes_and_arguments_agree_with_the_declaration(case: Case, target: str) -> None:
    registry = Registry()
    kernel_type = registry[case[0]]
    try:
        shape = kernel_type.resolve(case[1], get_target(target))
    except ShapeError:
        assert case[3 if target == "h100" else 4] is None
        return
    top = kernel_type.run_dimension.step * 2
    buffers = kernel_type.allocate_buffers(shape, top, "meta")
    total = sum(tensor.untyped_storage().nbytes() for tensor in buffers.tensors.values())
    assert total == kernel_type.memory_requirement(shape, top)
    call = kernel_type.arguments(buffers, top)
    assert kernel_type.read_m(*call.args, **call.kwargs) == top
    with ExitStack() as scope:
        try:
            scope.enter_context(applied(kernel_type, shape))
        except ShapeError:  # the installed DeepGEMM does not have the setting
            assert _measured(case, target) is None
            return
        assert kernel_type.resolve(read_call(kernel_type, call.args, call.kwargs), get_target(target)) == shape
