"""What all tests of the conformance kit share."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from kregistry.conformance import Machine
from kregistry.stub.library import default_stub_directory


@pytest.fixture(scope="session", autouse=True)
def _all_of_torch() -> None:
    """Some functions of torch import this module at their first call, and it can be imported once only.

    It registers operators. A first import that fails, because a test hides a package at that moment, would make every
    later call of those functions fail in this process.
    """
    importlib.import_module("torch._inductor.test_operators")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """The workers of pytest share the cores: threads of torch that wait for each other would take most of the time."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="class")
def machine() -> Iterator[Machine]:
    """The processes on the stub of a set of mutants."""
    import deep_gemm  # noqa: F401 - the settings of shapes are DeepGEMM's

    with Machine(default_stub_directory()) as machine:
        yield machine


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each mutant of the set of a class, and for each right kernel type."""
    mutants = getattr(metafunc.cls, "mutants", None)
    if mutants is not None and "mutant" in metafunc.fixturenames:
        metafunc.parametrize("mutant", [name for name in mutants.mutants if name not in mutants.survivors])
    if mutants is not None and "right" in metafunc.fixturenames:
        metafunc.parametrize("right", [each.__name__ for each in mutants.right])
