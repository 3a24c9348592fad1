"""Warm up what an engine's own warm-up leaves out, at the first call of each shape.

Engines warm up only some functions, and only with some arguments. Their models call more functions, with other recipes,
settings and numbers of splits. So while a server starts, every DeepGEMM function that a kernel type knows is watched,
except layout functions. The first call of a shape warms up the whole range of run-time values, and then it goes on.
After many calls in a row without a new shape the watch ends, and DeepGEMM's own functions are put back.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import ModuleType
from typing import Any

from kregistry.deep_gemm.settings import DETERMINISTIC, observe
from kregistry.errors import KregistryError
from kregistry.events import WarmupOutcome
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.kernel_type import EmptyInput, KernelType, RunDimension, Value
from kregistry.kernel_type.display import show_shape
from kregistry.manifest import Manifest
from kregistry.recording.recognition import recognise, why_unknown
from kregistry.serving.coverage import Coverage
from kregistry.target import Target

log = logging.getLogger("kregistry.integrations")

#: A forward pass of the largest models makes about 600 calls.
_QUIET_CALLS = 2000
#: Functions that change the layout of scale factors: called for every weight while it is loaded, with few kernels.
_NOT_WATCHED = ("get_mn_major_", "get_k_grouped_mn_major_", "transform_")


class FirstCalls:
    """The watch of one process.

    Args:
        engine: warms up; calls during a warm-up are not watched.
        policies: names of the policies by which the engine chooses dimensions. If one of them gives the number of a
            call, the policy is warmed up, not only the number.
        largest: the largest run-time value that the server can reach, as far as the engine knows when it is called.
        wanted: whether this process warms up. It is called at each watched call; the watch ends when it is false.
    """

    def __init__(
        self,
        engine: EngineWarmup,
        policies: Collection[str],
        largest: Callable[[], int],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._engine = engine
        self._policies = policies
        self._largest = largest
        self._wanted = wanted
        self._coverage = Coverage()
        self._tried: set[tuple[object, ...]] = set()
        self._quiet = 0
        #: Functions of which an unknown call has been reported.
        self._unknown: set[str] = set()
        #: (function of DeepGEMM, its wrapper) for each function that is watched now.
        self._watched: list[tuple[Callable[..., Any], Callable[..., Any]]] = []
        engine.observers.append(self)

    def watch(self, deep_gemm: ModuleType) -> None:
        """Wrap the functions of DeepGEMM, under every name that they have been imported to."""
        observe(deep_gemm)
        names: dict[Callable[..., Any], list[str]] = {}
        for registration in self._engine.registry.registrations():
            for name in registration.kernel_type.function_names:
                function = getattr(deep_gemm, name, None)
                if function is None or name.startswith(_NOT_WATCHED):
                    continue
                if name not in names.setdefault(function, []):
                    names[function].append(name)  # DeepGEMM has one function under several names
        pairs = [(function, self._wrap(function, own)) for function, own in names.items()]
        self._watched += pairs
        _replace_everywhere(pairs)

    def end(self) -> None:
        """Put DeepGEMM's own functions back under every name."""
        watched, self._watched = self._watched, []
        _replace_everywhere([(watcher, function) for function, watcher in watched])

    def warmed_up(self, manifest: Manifest, outcome: WarmupOutcome) -> None:
        """See :class:`kregistry.warm_up.WarmupObserver`."""
        self._coverage.add(manifest)

    def _wrap(self, function: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
        @functools.wraps(function)
        def watcher(*args: Any, **kwargs: Any) -> Any:
            if self._watched and not self._engine.warming:
                self._watch_call(names, args, kwargs)
            return function(*args, **kwargs)

        return watcher

    def _watch_call(self, names: list[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Never raises: the call goes on, even if its warm-up fails. After another failure the watch ends."""
        try:
            self._warm_if_new(names, args, kwargs)
        except Exception:
            log.exception("kregistry: first calls are not watched any more: DeepGEMM compiles on demand")
            self.end()

    def _warm_if_new(self, names: list[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        import torch

        if torch.cuda.is_current_stream_capturing():
            return  # neither a compile nor a launch may happen now
        if not self._wanted():
            self.end()
            return
        self._quiet += 1
        found = next(filter(None, (recognise(self._engine.registry, name, args, kwargs) for name in names)), None)
        if found is None:
            self._report_unknown(names, args, kwargs)
        elif self._is_new(*found):
            self._quiet = 0
            self._warm(*found)
        if self._quiet >= _QUIET_CALLS:
            self.end()

    def _report_unknown(self, names: list[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Once for each function: later calls may have other reasons, and are as many as the calls of a server."""
        if names[0] in self._unknown:
            return
        self._unknown.add(names[0])
        reasons = "; ".join(why_unknown(self._engine.registry, name, args, kwargs) for name in names)
        log.warning("kregistry knows no kernel of a call of %s: DeepGEMM compiles on demand: %s", names[0], reasons)

    def _is_new(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> bool:
        if m == 0 and kernel_type.empty_input is not EmptyInput.LAUNCH:
            return False
        if _calls_cublaslt(kernel_type) and not shape.get(DETERMINISTIC.name):
            return False
        if self._coverage.covers(kernel_type, shape, m):
            return False
        if _waits_for_others(kernel_type, shape, self._engine.target):
            return False  # while this process builds, the others would wait inside their kernels, and time out
        key = (
            kernel_type.name,
            *(item for item in shape.items() if item[0] not in kernel_type.buffer_sizes),
            range_end(kernel_type.run_dimension, m, self._largest()),
        )
        new = key not in self._tried
        self._tried.add(key)
        return new

    def _warm(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> None:
        words = show_shape(shape)
        try:
            stop = range_end(kernel_type.run_dimension, m, self._largest())
            shapes = list(self._as_policies(kernel_type, shape, m))
            self._engine.warm(self._engine.entry(kernel_type.name, each, stop, "first call") for each in shapes)
        except KregistryError as error:
            log.warning(
                "kregistry cannot warm up %s %s: DeepGEMM compiles on demand: %s", kernel_type.name, words, error
            )
        except Exception:
            log.exception("kregistry cannot warm up %s %s: DeepGEMM compiles on demand", kernel_type.name, words)

    def _as_policies(
        self, kernel_type: KernelType, shape: Mapping[str, Value], m: int
    ) -> Iterator[Mapping[str, Value]]:
        """The shape with each policy of the engine that gives its number at ``m``, or the shape itself."""
        found = False
        for dimension in kernel_type.all_dimensions:
            for policy in sorted(dimension.policies.keys() & set(self._policies)):
                varied = {**shape, dimension.name: policy}
                if kernel_type.resolve(varied, self._engine.target).at(dimension, m) == shape.get(dimension.name):
                    found = True
                    yield varied
        if not found:
            yield shape


def range_end(run_dimension: RunDimension, m: int, largest: int) -> int:
    """The end of the range to warm up for a first call at ``m``.

    The engine's largest value counts tokens. If the dimension counts requests, or ``m`` is larger, the range ends at
    the next power of two: servers start with their largest batch.
    """
    counts_tokens = run_dimension.name != "batch_size"
    return largest if counts_tokens and m <= largest else 1 << (m - 1).bit_length()


def _calls_cublaslt(kernel_type: KernelType) -> bool:
    """DeepGEMM 0.2 hands dense BF16 GEMMs to cuBLASLt unless it runs in deterministic mode."""
    return any(name.startswith("bf16_gemm_") for name in kernel_type.function_names)


def _waits_for_others(kernel_type: KernelType, shape: Mapping[str, Value], target: Target) -> bool:
    try:
        return kernel_type.collective(kernel_type.resolve(shape, target)) is not None
    except KregistryError:  # the warm-up will report what is wrong
        return False


def _replace_everywhere(pairs: list[tuple[Callable[..., Any], Callable[..., Any]]]) -> None:
    """Bind the second of each pair to every name of a module that is bound to the first."""
    new = {id(old): replacement for old, replacement in pairs}
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            for name, value in list(vars(module).items()):
                if id(value) in new:
                    setattr(module, name, new[id(value)])
