"""Every public function of the installed DeepGEMM is claimed by a kernel type, or listed with a reason."""

from __future__ import annotations

import typing
from collections import Counter
from types import ModuleType
from typing import get_origin

import pytest

from kregistry import Registry, get_target
from tests.plugins import unclaimed_functions_c
from tests.plugins.stack import NAMES_ONLY, VERSIONS, installed_version
from tests.plugins.unclaimed_functions import UNCLAIMED
from tests.plugins.unclaimed_functions_b import ADDED, GONE


def _public_functions() -> set[str]:
    import deep_gemm

    def is_function(value: object) -> bool:
        typing_word = get_origin(value) is not None or getattr(value, "__module__", "") == typing.__name__
        return callable(value) and not isinstance(value, type | ModuleType) and not typing_word

    return {name for name, value in vars(deep_gemm).items() if not name.startswith("_") and is_function(value)}


def _claimed() -> set[str]:
    registry = Registry()
    return {function for name in registry.names() for function in registry[name].function_names}


def _listed() -> Counter[str]:
    """The unclaimed functions of the installed DeepGEMM."""
    listed = Counter(name for names in UNCLAIMED.values() for name in names)
    if installed_version() != VERSIONS["0.1"]:
        listed -= Counter(GONE)
        listed += Counter(name for names in ADDED.values() for name in names)
    if installed_version() == NAMES_ONLY:
        listed -= Counter(unclaimed_functions_c.GONE)
        listed += Counter(name for names in unclaimed_functions_c.ADDED.values() for name in names)
    return listed


def _unknown() -> list[str]:
    return sorted(_public_functions() - _claimed() - set(_listed()))


def test_every_function_is_claimed_or_listed_and_none_is_both() -> None:
    listed = _listed()
    assert [name for name, count in listed.items() if count > 1] == []
    assert sorted(_claimed() & set(listed)) == []
    assert _unknown() == []
    # The list is of the DeepGEMM that the tests run with: what is gone from it must leave the list.
    assert sorted(set(listed) - _public_functions()) == []


def test_a_function_that_upstream_adds_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import deep_gemm

    monkeypatch.setattr(deep_gemm, "fp2_gemm_nt", lambda a, b, d: None, raising=False)
    monkeypatch.setattr(deep_gemm, "_private", lambda: None, raising=False)
    monkeypatch.setattr(deep_gemm, "SomeClass", type("SomeClass", (), {}), raising=False)
    assert _unknown() == ["fp2_gemm_nt"]


def test_the_list_of_the_other_stack_names_no_claimed_function() -> None:
    """Seen on every stack, so that claiming a function corrects all lists at once."""
    for added in (ADDED, unclaimed_functions_c.ADDED):
        assert sorted(_claimed() & {name for names in added.values() for name in names}) == []


def test_a_kernel_type_has_its_function_wherever_it_says_that_it_works() -> None:
    """And where DeepGEMM has lost the function, no arch is said to work."""
    registry, version = Registry(), installed_version()
    targets = [get_target(name) for name in ("h100", "b200", "rtx-pro-6000")]
    works = {n for n in registry.names() if any(registry[n].unsupported_reason(t, version) is None for t in targets)}
    public = _public_functions()
    assert {name for name in works if public.isdisjoint(registry[name].function_names)} == set()
