"""Calls of wrapped functions are seen, under every name, until the functions are released."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any

import pytest

from kregistry import KernelType, Registry, hookimpl
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.integrations.first_calls import FirstCalls
from kregistry.integrations.watched_functions import WatchedFunctions
from kregistry.recording.recognition import known_by


class Own:
    """The library's own functions, where no module has a name for them: names of modules are bound anew."""

    @staticmethod
    def fp8_gemm_nt(a: int) -> int:
        return a + 1

    @staticmethod
    def transform_sf_into_required_layout(a: int) -> int:
        return a


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stands in for DeepGEMM, which has one function under two names."""
    module = ModuleType("library")
    for name in ("fp8_gemm_nt", "fp8_fp4_gemm_nt"):
        setattr(module, name, Own.fp8_gemm_nt)
    setattr(module, "transform_sf_into_required_layout", Own.transform_sf_into_required_layout)  # noqa: B010
    monkeypatch.setitem(sys.modules, "library", module)
    return module


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, library: ModuleType) -> ModuleType:
    """A module of an engine that has imported a function by its name, and keeps another in a cache."""
    module = ModuleType("sglang.somewhere")
    monkeypatch.setitem(sys.modules, "sglang.somewhere", module)
    own: Any = module
    own.bound_by_name = Own.fp8_gemm_nt
    own.kept = functools.lru_cache(lambda: library.fp8_gemm_nt)
    own.other = functools.lru_cache(lambda: [])
    return module


def test_each_call_is_seen_under_every_name_until_the_release(library: Any, engine: Any) -> None:
    seen: list[tuple[list[str], tuple[Any, ...]]] = []
    watched = WatchedFunctions(Registry, lambda function, args, kwargs: seen.append((function.names, args)))
    assert not watched
    watched.watch(library)
    assert library.fp8_gemm_nt is library.fp8_fp4_gemm_nt is engine.bound_by_name is not Own.fp8_gemm_nt
    assert [library.fp8_gemm_nt(1), engine.bound_by_name(2)] == [2, 3]
    [function] = watched
    assert seen == [(function.names, (1,)), (function.names, (2,))]
    assert {"fp8_gemm_nt", "fp8_fp4_gemm_nt"} == set(function.names)
    watched.release([function])
    assert library.fp8_gemm_nt is library.fp8_fp4_gemm_nt is engine.bound_by_name is Own.fp8_gemm_nt
    assert not watched and function.wrapper(3) == 4 and len(seen) == 2  # whoever has kept the wrapper may call it


def test_layout_functions_are_not_watched(library: Any) -> None:
    watched = WatchedFunctions(Registry, lambda function, args, kwargs: None)
    watched.watch(library)
    assert library.transform_sf_into_required_layout is Own.transform_sf_into_required_layout
    watched.release(list(watched))


def test_what_an_engine_keeps_in_a_cache_is_the_librarys_own_again(library: Any, engine: Any) -> None:
    watched = WatchedFunctions(Registry, lambda function, args, kwargs: None)
    watched.watch(library)
    kept, other = engine.kept(), engine.other()
    assert kept is not Own.fp8_gemm_nt
    watched.release(list(watched))
    assert engine.kept() is Own.fp8_gemm_nt
    assert engine.other() is other


class Other:
    """A second plugin that offers installed kernel types: all that know one function."""

    @hookimpl
    def kregistry_kernel_types(self) -> list[KernelType]:
        return list(known_by(Registry(), "m_grouped_fp8_gemm_nt_masked"))


def test_settings_are_those_of_the_providers_that_are_chosen_when_the_watch_begins() -> None:
    engine = EngineWarmup("test")
    engine.registry.register(Other(), "other")
    first_calls = FirstCalls(engine, [], lambda: 16)
    engine.registry = engine.registry.choosing({each.name: "other" for each in Other().kregistry_kernel_types()})
    library: Any = ModuleType("library")
    library.m_grouped_fp8_gemm_nt_masked = Own.fp8_gemm_nt
    first_calls.watch(library)
    [function] = first_calls._functions
    assert "num_sms" in [each.name for each in function.settings]
    first_calls.end()
