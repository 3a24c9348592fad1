"""Compiles of other JIT compilers: named while requests are served, counted, and never a reason to fail."""

from __future__ import annotations

import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kregistry.integrations.other_compilers import OtherCompilers


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Triton and FlashInfer, as far as they are watched."""
    found: dict[str, Any] = {}
    for name in ("triton.knobs", "flashinfer.jit.core"):
        found[name] = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, found[name])
    found["triton.knobs"].runtime = SimpleNamespace(jit_cache_hook=None, jit_post_compile_hook=None)
    found["flashinfer.jit.core"].logger = logging.Logger("flashinfer.jit")
    monkeypatch.setattr(logging.getLogger("tilelang"), "handlers", [])
    return found


def compile_all(modules: dict[str, Any]) -> list[Any]:
    runtime = modules["triton.knobs"].runtime
    results = [runtime.jit_cache_hook(fn=None), runtime.jit_post_compile_hook(fn=SimpleNamespace(name="_softmax"))]
    modules["flashinfer.jit.core"].logger.info("Building JIT module %s; this can take several minutes", "norm")
    modules["flashinfer.jit.core"].logger.info("nothing is built")
    logging.getLogger("tilelang.jit.kernel").warning("TileLang begins to compile kernel `mhc` with out_idx=[1]")
    return results


def test_compiles_in_live_traffic_are_named(modules: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    ready = False
    compilers = OtherCompilers(lambda: ready, warns=True)
    compilers.watch()
    compile_all(modules)
    assert not compilers.counts and "kregistry" not in caplog.text  # part of the start
    ready = True
    compile_all(modules)
    assert compilers.counts == {"Triton": 1, "FlashInfer": 1, "TileLang": 1}
    for line in ("Triton compiled in 0.00 s: _softmax", "FlashInfer is compiling norm", "TileLang is compiling mhc"):
        assert line in caplog.text


def test_the_hooks_of_others_are_called(modules: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    runtime = modules["triton.knobs"].runtime
    runtime.jit_cache_hook = lambda **_: "before"
    runtime.jit_post_compile_hook = lambda **_: "after"
    compilers = OtherCompilers(lambda: True, warns=False)
    compilers.watch()
    assert compile_all(modules) == ["before", "after"]
    assert compilers.counts.total() == 3 and "kregistry" not in caplog.text


def test_no_failure_reaches_the_compiler(modules: dict[str, Any]) -> None:
    def fail() -> bool:
        raise OSError("the folder of the start is gone")

    OtherCompilers(fail, warns=True).watch()
    assert compile_all(modules) == [None, None]
