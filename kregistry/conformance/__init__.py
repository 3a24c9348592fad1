"""The conformance kit: rules that prove a kernel type, on any machine as far as that goes, and fully on a GPU.

A test file of one's own needs a fixture and a class:

    import pytest
    from kregistry.conformance import KernelTypeConformance

    @pytest.fixture
    def kernel_type():
        return MyGemm()

    class TestMyGemm(KernelTypeConformance):
        pass

``kregistry conformance`` runs the same rules for installed plugins. Every rule has a section in docs/conformance.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kregistry.conformance.machine import Machine
    from kregistry.conformance.rule import Level
    from kregistry.conformance.run import Outcome, examine
    from kregistry.conformance.suite import KernelTypeConformance

_HOMES = {
    "KernelTypeConformance": "suite",
    "Level": "rule",
    "Machine": "machine",
    "Outcome": "run",
    "examine": "run",
}

__all__ = ["KernelTypeConformance", "Level", "Machine", "Outcome", "examine"]


def __getattr__(name: str) -> Any:
    """Names are imported on first use: only the suite needs pytest."""
    if name in _HOMES:
        return getattr(import_module(f"kregistry.conformance.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'kregistry.conformance' has no attribute {name!r}")
