"""Guards of sealed calls: the parameters of the function, the empty-input rule, and every other error as it was."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from on_stub import answer

from kregistry.kernel_type.sealed_call import guard, sealed_call
from kregistry_plugins.hc_prenorm.kernel_type import Tf32HcPrenormGemm


def refuses(a: list[int], b: int, splits: int | None = None) -> Any:
    """Refuses an empty input, as DeepGEMM's host code does."""
    if not a:
        raise RuntimeError("Assertion error: stride")
    if b == 13:
        raise RuntimeError("out of memory")
    return [*a, b, splits]


def takes_all(a: list[int], b: int, splits: int | None = None) -> Any:
    return [*a, b, splits]


def variadic(*args: Any, **kwargs: Any) -> Any:
    return refuses(*args, **kwargs)


def keyword_only(a: list[int], b: int, *, splits: int | None = None) -> Any:
    return refuses(a, b, splits)


def read_m(a: list[int], *args: Any, **kwargs: Any) -> int:
    return len(a)


def guarded(function: Callable[..., Any], raises_on_empty: bool, reader: Callable[..., int] = read_m) -> Any:
    return guard(function, reader, lambda *args, **kwargs: "empty", raises_on_empty=raises_on_empty)


@pytest.mark.parametrize("raises_on_empty", [True, False])
@pytest.mark.parametrize("function", [refuses, variadic, keyword_only])
def test_an_empty_input_is_handled_and_others_reach_the_function(
    function: Callable[..., Any], raises_on_empty: bool
) -> None:
    call = guarded(function, raises_on_empty)
    assert call([1], 2) == [1, 2, None]
    assert call([1], b=2, splits=3) == [1, 2, 3]
    assert call([], 2) == call([], 2, splits=3) == "empty"
    with pytest.raises(RuntimeError, match="out of memory"):
        call([1], 13)
    with pytest.raises(TypeError):
        call([1], 2, other=3)
    assert call.__name__ == function.__name__
    assert inspect.signature(call) == inspect.signature(function)


@pytest.mark.parametrize("raises_on_empty", [True, False])
def test_a_reader_is_given_as_many_parameters_as_it_takes(raises_on_empty: bool) -> None:
    call = guard(refuses, lambda a: len(a), lambda a, b: [a, b], raises_on_empty=raises_on_empty)
    assert call([], 2, splits=3) == [[], 2]
    assert call([1], 2, splits=3) == [1, 2, 3]


def test_a_function_that_takes_empty_inputs_is_not_asked_where_the_guard_asks_first() -> None:
    assert guarded(takes_all, False)([], 2) == "empty"
    assert guarded(takes_all, True)([], 2) == [2, None]  # what the claim allows: the function returned


def test_a_call_that_cannot_be_read_keeps_its_own_error() -> None:
    def fails(*args: Any) -> int:
        raise AttributeError("no shape")

    with pytest.raises(RuntimeError, match="stride"):
        guarded(refuses, True, fails)([], 2)


def test_a_function_of_c_is_called_as_the_caller_did() -> None:
    assert guarded(max, True, lambda *args, **kwargs: len(args[0]))([1, 2], default=0) == 2


def test_parameters_are_passed_without_packing_them() -> None:
    code = guarded(refuses, True).__code__
    assert code.co_varnames[: code.co_argcount] == ("a", "b", "splits")
    assert not code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)


@pytest.mark.parametrize(
    "version, called",
    [("0.1.4.post1", "_C"), ("0.2.3.post2", "_C"), ("0.2.4", "deep_gemm"), ("2.1.1+c9f8b34", "deep_gemm")],
)
def test_a_guard_calls_what_the_function_passes_its_parameters_on_to(
    version: str, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tf32_hc_prenorm_gemm(a: Any, b: Any, d: Any, sqr_sum: Any, num_splits: int | None = None) -> Any:
        return "deep_gemm", a, b, d, sqr_sum, num_splits

    module = SimpleNamespace(
        tf32_hc_prenorm_gemm=tf32_hc_prenorm_gemm,
        _C=SimpleNamespace(tf32_hc_prenorm_gemm=lambda *arguments: ("_C", *arguments)),
    )
    monkeypatch.setitem(sys.modules, "deep_gemm", module)
    call = sealed_call(Tf32HcPrenormGemm(), version)
    assert call(1, 2, 3, 4, num_splits=5) == (called, 1, 2, 3, 4, 5)
    assert call(1, b=2, d=3, sqr_sum=4) == (called, 1, 2, 3, 4, None)
    assert inspect.signature(call) == inspect.signature(tf32_hc_prenorm_gemm)
    del module._C
    assert sealed_call(Tf32HcPrenormGemm(), version)(1, 2, 3, 4)[0] == "deep_gemm"


def test_a_compile_below_a_guard_is_seen_as_a_call_of_deep_gemm(tmp_path: Path) -> None:
    got = answer(
        """
        from kregistry.jit_monitor import JitMonitor
        events = []
        class Listener:
            @kregistry.hookimpl
            def kregistry_jit_compiled(self, event):
                events.append([event.site, event.kernel_type, dict(event.shape), event.m])
        registry = kregistry.Registry()
        registry.listen(Listener())
        kregistry.Dispatch(registry).seal()
        monitor = JitMonitor(registry, "count").start(deep_gemm_unused=True)
        call = registry["tf32_hc_prenorm_gemm"]
        def layer():
            args, kwargs = hc(5, 3)
            call(*args, **kwargs)
        layer()
        monitor.stop()
        answer(events=events)
        """,
        tmp_path,
    )
    ((site, *call),) = got["events"]  # type: ignore[misc]
    assert site.endswith("in layer") and "script.py" in site
    assert call == ["tf32_hc_prenorm_gemm", {"n": 24, "k": 1024, "num_splits": 3}, 5]
