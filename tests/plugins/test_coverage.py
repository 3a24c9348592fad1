"""Every public function of the installed DeepGEMM is claimed by a kernel type, or listed with a reason."""

from __future__ import annotations

from collections import Counter
from types import ModuleType
from typing import get_origin

from kregistry import TARGETS, Registry
from kregistry.toolchain import deep_gemm_version
from tests.plugins.unclaimed_functions import UNCLAIMED


def _public_functions() -> set[str]:
    import typing

    import deep_gemm

    def is_function(value: object) -> bool:
        typing_word = get_origin(value) is not None or getattr(value, "__module__", "") == typing.__name__
        return callable(value) and not isinstance(value, type | ModuleType) and not typing_word

    return {name for name, value in vars(deep_gemm).items() if not name.startswith("_") and is_function(value)}


def _claimed() -> set[str]:
    registry = Registry()
    return {function for name in registry.names() for function in registry[name].function_names}


def test_every_function_is_claimed_or_listed_and_none_is_both() -> None:
    listed = Counter(name for names in UNCLAIMED.values() for name in names)
    assert [name for name, count in listed.items() if count > 1] == []
    assert sorted(_claimed() & set(listed)) == []
    assert sorted(_public_functions() - _claimed() - set(listed)) == []
    # The list is of the DeepGEMM that the tests run with: what is gone from it must leave the list.
    assert sorted(set(listed) - _public_functions()) == []


def test_every_kernel_type_for_this_version_has_its_function() -> None:
    registry, version = Registry(), deep_gemm_version()
    supported = {
        name
        for name in registry.names()
        if any(registry[name].unsupported_reason(target, version) is None for target in TARGETS.values())
    }
    assert len(supported) > len(registry.names()) / 2
    assert {name for name in supported if not callable(registry[name].function())} == set()
