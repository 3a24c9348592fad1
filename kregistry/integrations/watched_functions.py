"""Functions of DeepGEMM whose calls are seen for a while; then they are DeepGEMM's own again."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import ModuleType
from typing import Any

from attrs import define, field

from kregistry.kernel_type import Setting
from kregistry.recording.recognition import known_by
from kregistry.registry import Registry

#: Functions that change the layout of scale factors: called for every weight while it is loaded, with few kernels.
_NOT_WATCHED = ("get_mn_major_", "get_k_grouped_mn_major_", "transform_")


@define(eq=False)
class WatchedFunction:
    """One function of DeepGEMM, the names that kernel types know it by, its wrapper, and how often it was called.

    Attributes:
        settings: those that its kernel types read.
        calls: calls so far.
        quiet: calls since the last one that was new.
        ready: signatures of calls that need nothing, now or later: see :mod:`call_signature`.
    """

    function: Callable[..., Any]
    names: list[str]
    settings: tuple[Setting, ...] = ()
    wrapper: Callable[..., Any] = field(init=False)
    calls: int = 0
    quiet: int = 0
    ready: set[tuple[object, ...]] = field(factory=set)


class WatchedFunctions:
    """Those of one process.

    Args:
        registry: gives the registry of now: a manifest may choose other providers. Its kernel types say which functions
            are watched, and by which settings calls differ.
        on_call: is given each call before it is made: the function, and its arguments. It must not raise.
    """

    def __init__(
        self,
        registry: Callable[[], Registry],
        on_call: Callable[[WatchedFunction, tuple[Any, ...], Mapping[str, Any]], None],
    ) -> None:
        self._registry = registry
        self._on_call = on_call
        self._watched: list[WatchedFunction] = []

    def __iter__(self) -> Iterator[WatchedFunction]:
        return iter(self._watched)

    def __bool__(self) -> bool:
        return bool(self._watched)

    def watch(self, deep_gemm: ModuleType) -> None:
        """Wrap the functions of DeepGEMM, under every name that they have been imported to."""
        names: dict[Callable[..., Any], list[str]] = {}
        for registration in self._registry().registrations():
            for name in registration.kernel_type.function_names:
                function = getattr(deep_gemm, name, None)
                if function is None or name.startswith(_NOT_WATCHED):
                    continue
                if name not in names.setdefault(function, []):
                    names[function].append(name)  # DeepGEMM has one function under several names
        new = [WatchedFunction(function, own, self._settings_of(own)) for function, own in names.items()]
        for each in new:
            each.wrapper = self._wrap(each)
        self._watched += new
        _replace_everywhere([(each.function, each.wrapper) for each in new])

    def release(self, watched: Collection[WatchedFunction]) -> None:
        """Put DeepGEMM's own functions back under every name."""
        ended = list(watched)
        self._watched = [each for each in self._watched if each not in ended]
        _replace_everywhere([(each.wrapper, each.function) for each in ended])
        _clear_caches_of([each.wrapper for each in ended])

    def _settings_of(self, names: Collection[str]) -> tuple[Setting, ...]:
        known = [each for name in names for each in known_by(self._registry(), name)]
        return tuple(dict.fromkeys(setting for each in known for setting in each.settings))

    def _wrap(self, watched: WatchedFunction) -> Callable[..., Any]:
        function = watched.function

        @functools.wraps(function)
        def watcher(*args: Any, **kwargs: Any) -> Any:
            if self._watched:
                self._on_call(watched, args, kwargs)
            return function(*args, **kwargs)

        return watcher


def _replace_everywhere(pairs: list[tuple[Callable[..., Any], Callable[..., Any]]]) -> None:
    """Bind the second of each pair to every name of a module that is bound to the first."""
    new = {id(old): replacement for old, replacement in pairs}
    if not new:
        return
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            for name, value in list(vars(module).items()):
                if id(value) in new:
                    setattr(module, name, new[id(value)])


def _clear_caches_of(wrappers: Collection[Callable[..., Any]]) -> None:
    """Empty each ``lru_cache`` without arguments that has kept a wrapper: SGLang's ``dsa/utils.py`` has such."""
    kept = {id(wrapper) for wrapper in wrappers}
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType) or not module.__name__.startswith(("sglang.", "vllm.")):
            continue
        for value in list(vars(module).values()):
            if not isinstance(value, functools._lru_cache_wrapper) or not value.cache_info().currsize:
                continue
            if not inspect.signature(value).parameters and id(value()) in kept:
                value.cache_clear()  # it was asked for the kept value: nothing is run
