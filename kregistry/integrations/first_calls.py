"""Warm up what an engine's own warm-up leaves out: the first call of a shape is seen at DeepGEMM's functions.

Engines warm up some functions, with the arguments that they think of. Their models call more functions, and with other
recipes, settings and numbers of parts. So while a server starts, every DeepGEMM function that a kernel type knows is
watched, layouts apart: the first call of a shape warms it up over the whole range, then the call goes on. Once many
calls in a row have brought nothing new, the watch ends, and the functions are DeepGEMM's own again.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import ModuleType
from typing import Any

from kregistry.deep_gemm.settings import DETERMINISTIC
from kregistry.errors import KregistryError
from kregistry.hookspecs import hookimpl
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.kernel_type import EmptyInput, KernelType, RunDimension, Value
from kregistry.manifest import Manifest
from kregistry.recording.recognition import recognise
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
        engine: warms up; while it does, calls are not watched.
        rules: names of the policies by which the engine chooses numbers; a number that one of them gives stands for it.
        largest: the largest run-time value that the server can reach, as far as the engine knows by now.
        wanted: whether this process warms up; asked at calls, and once it does not, the watch ends.
    """

    def __init__(
        self,
        engine: EngineWarmup,
        rules: Collection[str],
        largest: Callable[[], int],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._largest = largest
        self._wanted = wanted
        self._coverage = Coverage()
        self._tried: set[tuple[object, ...]] = set()
        self._quiet = 0
        #: What stands in the place of DeepGEMM's functions now, with what stood there before.
        self._watched: list[tuple[Callable[..., Any], Callable[..., Any]]] = []
        engine.registry.listen(self)

    def watch(self, deep_gemm: ModuleType) -> None:
        """Stand in front of the functions, wherever they have been imported to."""
        names: dict[Callable[..., Any], list[str]] = {}
        for registration in self._engine.registry.registrations():
            for name in registration.kernel_type.function_names:
                function = getattr(deep_gemm, name, None)
                if function is None or name.startswith(_NOT_WATCHED):
                    continue
                if name not in names.setdefault(function, []):
                    names[function].append(name)  # DeepGEMM has one function under several names
        pairs = [(function, self._in_front_of(function, own)) for function, own in names.items()]
        self._watched += pairs
        _replace_everywhere(pairs)

    def end(self) -> None:
        """DeepGEMM's own functions return to where they were."""
        watched, self._watched = self._watched, []
        _replace_everywhere([(watcher, function) for function, watcher in watched])

    @hookimpl
    def kregistry_warmup_finished(self, manifest: Manifest) -> None:
        self._coverage.add(manifest)

    def _in_front_of(self, function: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
        @functools.wraps(function)
        def watcher(*args: Any, **kwargs: Any) -> Any:
            if self._watched and not self._engine.warming:
                self._look(names, args, kwargs)
            return function(*args, **kwargs)

        return watcher

    def _look(self, names: list[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Never raises: a call goes on, whatever becomes of its warm-up."""
        import torch

        if torch.cuda.is_current_stream_capturing():
            return  # neither a compile nor a launch may happen now
        if not self._wanted():
            self.end()
            return
        self._quiet += 1
        found = next(filter(None, (recognise(self._engine.registry, name, args, kwargs) for name in names)), None)
        if found is not None and self._is_new(*found):
            self._quiet = 0
            self._warm(*found)
        if self._quiet >= _QUIET_CALLS:
            self.end()

    def _is_new(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> bool:
        if m == 0 and kernel_type.empty_input is not EmptyInput.LAUNCH:
            return False
        if _calls_cublaslt(kernel_type) and not shape.get(DETERMINISTIC.name):
            return False
        if self._coverage.covers(kernel_type, shape, m):
            return False
        if _waits_for_others(kernel_type, shape, self._engine.target):
            return False  # while this process builds, the others would wait inside their kernels, and give up
        key = (
            kernel_type.name,
            *(item for item in shape.items() if item[0] not in kernel_type.buffer_sizes),
            range_end(kernel_type.run_dimension, m, self._largest()),
        )
        new = key not in self._tried
        self._tried.add(key)
        return new

    def _warm(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> None:
        words = " ".join(f"{name}={value}" for name, value in shape.items())
        try:
            stop = range_end(kernel_type.run_dimension, m, self._largest())
            shapes = list(self._as_rules(kernel_type, shape, m))
            self._engine.warm(self._engine.entry(kernel_type.name, each, stop, "first call") for each in shapes)
        except KregistryError as error:
            log.warning(
                "kregistry cannot warm up %s %s: DeepGEMM compiles on demand: %s", kernel_type.name, words, error
            )
        except Exception:
            log.exception("kregistry cannot warm up %s %s: DeepGEMM compiles on demand", kernel_type.name, words)

    def _as_rules(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> Iterator[Mapping[str, Value]]:
        """The shape with every rule of the engine that gives its number at ``m``; the shape itself if there is none."""
        found = False
        for dimension in kernel_type.all_dimensions:
            for rule in sorted(dimension.policies.keys() & set(self._rules)):
                varied = {**shape, dimension.name: rule}
                if kernel_type.resolve(varied, self._engine.target).at(dimension, m) == shape.get(dimension.name):
                    found = True
                    yield varied
        if not found:
            yield shape


def range_end(run_dimension: RunDimension, m: int, largest: int) -> int:
    """The end of the range to warm up for a first call at ``m``.

    What an engine names counts tokens. Where requests are counted, and where it has named less or nothing yet, it is
    the next power of two: servers begin with their largest batch.
    """
    counts_tokens = run_dimension.name != "batch_size"
    return largest if counts_tokens and m <= largest else 1 << (m - 1).bit_length()


def _calls_cublaslt(kernel_type: KernelType) -> bool:
    """DeepGEMM 0.2 hands dense BF16 GEMMs to cuBLASLt unless it runs in deterministic mode."""
    return any(name.startswith("bf16_gemm_") for name in kernel_type.function_names)


def _waits_for_others(kernel_type: KernelType, shape: Mapping[str, Value], target: Target) -> bool:
    try:
        return kernel_type.collective(kernel_type.resolve(shape, target)) is not None
    except KregistryError:  # warming it up will say what is wrong
        return False


def _replace_everywhere(pairs: list[tuple[Callable[..., Any], Callable[..., Any]]]) -> None:
    """Bind the second of each pair to every name of a module that is bound to the first."""
    new = {id(old): replacement for old, replacement in pairs}
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            for name, value in list(vars(module).items()):
                if id(value) in new:
                    setattr(module, name, new[id(value)])
