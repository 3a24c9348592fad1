"""Warm up what an engine's own warm-up leaves out, at the first call of each shape.

Engines warm up only some functions, and only with some arguments. Their models call more functions, with other recipes,
settings and numbers of splits. So every DeepGEMM function that a kernel type knows is watched, except layout functions.

* While the engine starts, the first call of a shape loads what the build process has made. While the build still runs,
  a call waits for its own kernel only, which is compiled before the others.
* If the build does not cover a call, DeepGEMM compiles its kernel at once, and the call goes on. A build process makes
  the rest of its range, and a later call loads it. Without a build process that has ended well, the whole range is
  warmed up before the call goes on.
* Once the engine says that it is ready, the functions that have been called are DeepGEMM's own again. The others stay
  watched until they have been called for a while.
* A first call in live traffic waits only for the kernel that it needs, which DeepGEMM compiles. The rest of its range
  is built in the background.

What no manifest covered is logged with the line to add, and remembered for the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any

from kregistry.deep_gemm.known_settings import DETERMINISTIC
from kregistry.deep_gemm.settings import observe
from kregistry.errors import KregistryError
from kregistry.integrations.ahead import Waited
from kregistry.integrations.call_ranges import CallRanges
from kregistry.integrations.call_signature import call_signature
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.integrations.missing_calls import MissingCalls
from kregistry.integrations.phases import PHASES
from kregistry.integrations.switches import failures_logged, log_failure
from kregistry.integrations.watched_functions import WatchedFunction, WatchedFunctions
from kregistry.kernel_type import EmptyInput, KernelType, Value
from kregistry.kernel_type.display import show_shape
from kregistry.manifest import Entry
from kregistry.recording.recognition import recognise, why_unknown
from kregistry.target import Target

log = logging.getLogger("kregistry.integrations")

#: For engines that do not say when they are ready. A forward pass of the largest models makes about 600 calls.
_QUIET_CALLS = 2000
#: Calls of one function in live traffic without anything new, after which it is no longer watched.
_SETTLED_CALLS = 256
#: Signatures that are kept of one function: more than the calls of an engine's start differ by.
_SIGNATURES = 4096


class FirstCalls:
    """The watch of one process.

    Args:
        engine: warms up; calls during a warm-up are not watched.
        policies, largest: see :class:`CallRanges`.
        wanted: whether this process warms up. It is called at each watched call; the watch ends when it is false.
        missing: is told of calls that no manifest covered.
    """

    def __init__(
        self,
        engine: EngineWarmup,
        policies: Collection[str],
        largest: Callable[[], int],
        wanted: Callable[[], bool] = lambda: True,
        missing: MissingCalls | None = None,
    ) -> None:
        self._engine = engine
        self._ranges = CallRanges(engine, policies, largest)
        self._wanted = wanted
        self.missing = missing or MissingCalls(engine.store)
        self._tried: set[tuple[object, ...]] = set()
        #: Calls that no manifest covered, while their range is built; those of a further build process.
        self._outside: set[tuple[object, ...]] = set()
        self._built_again: set[tuple[object, ...]] = set()
        #: The calls that came while launches were not allowed.
        self._postponed: dict[tuple[object, ...], tuple[KernelType, Mapping[str, Value], int]] = {}
        self._quiet = 0
        self._functions = WatchedFunctions(lambda: engine.registry, self._watch_call)
        #: Tells whether the engine serves requests; ``None`` for an engine that does not say.
        self.is_ready: Callable[[], bool] | None = None
        #: Whether device memory may be used for launches now, as opposed to while the engine measures its own use.
        self.may_launch: Callable[[], bool] = lambda: True
        self._live = False
        #: Functions of which an unknown call has been reported.
        self._unknown: set[str] = set()

    def watch(self, deep_gemm: ModuleType) -> None:
        """Watch the functions of DeepGEMM that a kernel type knows, and the settings that their calls depend on."""
        observe(deep_gemm)
        self._functions.watch(deep_gemm)

    @property
    def watches(self) -> bool:
        """Whether any function is watched."""
        return bool(self._functions)

    @property
    def builds_elsewhere(self) -> bool:
        """Whether a watched call that no manifest covers goes on, while another process builds its range."""
        return self.watches and bool(self.missing.key) and self._engine.can_build_again

    def end(self) -> None:
        """Put DeepGEMM's own functions back under every name."""
        self._functions.release(list(self._functions))

    @property
    def live(self) -> bool:
        """Whether the engine serves requests, as far as this process has noticed, and its build has been loaded."""
        if not self._live and self.is_ready is not None and self._engine.is_loaded and self.is_ready():
            self._live = True
            with PHASES.phase("end of the watch"):
                self._functions.release([each for each in self._functions if each.calls])
            left = ", ".join(each.names[0] for each in self._functions)
            log.info("kregistry: the engine is ready; not called so far, and still watched: %s", left or "nothing")
        return self._live

    def serves(self) -> bool:
        """Whether the engine says that it serves requests; the watch goes on as it is."""
        return self.is_ready is not None and self.is_ready()

    def _watch_call(self, watched: WatchedFunction, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Never raises: the call goes on, even if its warm-up fails. After another failure the watch ends."""
        if self._engine.warming:
            return
        with failures_logged("kregistry: first calls are not watched any more: DeepGEMM compiles on demand"):
            self._warm_if_new(watched, args, kwargs)
            return
        with failures_logged("kregistry cannot end the watch of first calls"):
            self.end()

    def _warm_if_new(self, watched: WatchedFunction, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        import torch

        if torch.cuda.is_current_stream_capturing():
            return  # neither a compile nor a launch may happen now
        if not self._wanted():
            self.end()
            return
        live = self.live
        watched.calls += 1
        watched.quiet += 1
        self._quiet += 1
        signature = call_signature(args, kwargs, watched.settings)
        if signature is None or signature not in watched.ready:
            self._read_call(watched, args, kwargs, signature, live)
        if live and watched.quiet >= _SETTLED_CALLS:
            self._functions.release([watched])
        elif self.is_ready is None and self._quiet >= _QUIET_CALLS:
            self.end()

    def _read_call(
        self,
        watched: WatchedFunction,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        signature: tuple[object, ...] | None,
        live: bool,
    ) -> None:
        found = next(
            filter(None, (recognise(self._engine.registry, name, args, kwargs) for name in watched.names)), None
        )
        if found is None:
            self._report_unknown(watched.names, args, kwargs)
        elif not self._needs_nothing(*found):
            if self._is_new(*found):
                watched.quiet = self._quiet = 0
                self._first_call(*found, live)
            return
        if signature is not None and len(watched.ready) < _SIGNATURES:
            watched.ready.add(signature)

    def _first_call(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int, live: bool) -> None:
        if live:
            self.missing.in_live_traffic(self._ranges.entries(kernel_type, shape, m), m)
            return
        key = self._ranges.key(kernel_type, shape, m)
        if key in self._outside and self._engine.builds_ahead:
            waited = Waited.NOTHING  # DeepGEMM has compiled its kernel, and the build may only be planning it
        else:
            waited = self._wait(kernel_type, shape, m)
        if waited is not Waited.EVERYTHING or not self.may_launch():
            self._tried.clear()  # try again when everything is built, and launches are allowed
            if not self.may_launch():
                self._postponed[key] = kernel_type, shape, m
            return
        self._engine.load_what_was_built_ahead()
        if self._engine.coverage.covers(kernel_type, shape, m):
            return
        if self.live:  # requests are served, though this is the first call since the build has ended
            self.missing.in_live_traffic(self._ranges.entries(kernel_type, shape, m), m)
        elif self.builds_elsewhere and key not in self._built_again:
            self._built_again.add(key)
            self._goes_on(kernel_type, shape, m)
            if self._engine.build_again():
                self._tried.clear()
        else:
            self._warm(kernel_type, shape, m)

    def postponed(self) -> list[Entry]:
        """What covers the calls that came before launches were allowed, and that nothing covers since."""
        calls, self._postponed = list(self._postponed.values()), {}
        missing = [each for each in calls if not self._engine.coverage.covers(*each)]
        return [entry for each in missing for entry in self._ranges.entries(*each)]

    def _wait(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> Waited:
        waited = self._engine.wait_for_call(kernel_type.name, shape, m)
        if waited is Waited.NOTHING:
            self._goes_on(kernel_type, shape, m)
        return waited

    def _goes_on(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> None:
        """A call that no manifest covers: DeepGEMM compiles its kernel, a build process the rest of its range."""
        self._outside.add(self._ranges.key(kernel_type, shape, m))
        self.missing.while_building(self._ranges.entries(kernel_type, shape, m), m)

    def _report_unknown(self, names: list[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Once for each function: later calls may have other reasons, and are as many as the calls of a server."""
        if names[0] in self._unknown:
            return
        self._unknown.add(names[0])
        reasons = "; ".join(why_unknown(self._engine.registry, name, args, kwargs) for name in names)
        log.warning("kregistry knows no kernel of a call of %s: DeepGEMM compiles on demand: %s", names[0], reasons)

    def _needs_nothing(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> bool:
        """Whether a call launches nothing, runs no kernel of DeepGEMM, or has its kernels loaded; that stays so."""
        if m == 0 and kernel_type.empty_input is not EmptyInput.LAUNCH:
            return True
        if _calls_cublaslt(kernel_type) and not shape.get(DETERMINISTIC.name):
            return True
        return self._engine.coverage.covers(kernel_type, shape, m)

    def _is_new(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> bool:
        if _waits_for_others(kernel_type, shape, self._engine.target):
            return False  # while this process builds, the others would wait inside their kernels, and time out
        key = self._ranges.key(kernel_type, shape, m)
        new = key not in self._tried
        self._tried.add(key)
        return new

    def _warm(self, kernel_type: KernelType, shape: Mapping[str, Value], m: int) -> None:
        words = show_shape(shape)
        try:
            entries = self._ranges.entries(kernel_type, shape, m)
            self._engine.warm(entries)
            self.missing.while_starting(entries)
        except Exception as error:
            log_failure(f"kregistry cannot warm up {kernel_type.name} {words}: DeepGEMM compiles on demand", error)


def _calls_cublaslt(kernel_type: KernelType) -> bool:
    """DeepGEMM 0.2 hands dense BF16 GEMMs to cuBLASLt unless it runs in deterministic mode."""
    return any(name.startswith("bf16_gemm_") for name in kernel_type.function_names)


def _waits_for_others(kernel_type: KernelType, shape: Mapping[str, Value], target: Target) -> bool:
    try:
        return kernel_type.collective(kernel_type.resolve(shape, target)) is not None
    except KregistryError:  # the warm-up will report what is wrong
        return False
