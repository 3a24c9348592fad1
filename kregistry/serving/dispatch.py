"""The calls of a registry: plain, watched, or sealed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kregistry.deep_gemm.settings import read_call
from kregistry.errors import KregistryError, MissingRequirement, UnseenCallError
from kregistry.hookspecs import hookimpl
from kregistry.kernel_type import EmptyInput, KernelType, Value
from kregistry.manifest import Manifest
from kregistry.recording.recording import Recording
from kregistry.serving.binding import bind, unbind
from kregistry.serving.checks import check_call
from kregistry.serving.coverage import Coverage
from kregistry.serving.policy import Unseen
from kregistry.target import Target, detect_target

if TYPE_CHECKING:
    from kregistry.compile.broken_calls import BrokenKernel
    from kregistry.registry import Registry
    from kregistry.warm_up.warmup_report import WarmupReport

_log = logging.getLogger("kregistry.serving")

#: Looks at one call before it is made: dimensions, run-time value, arguments.
_Watcher = Callable[[KernelType, Mapping[str, Value], int, tuple[Any, ...], Mapping[str, Any]], None]


class Dispatch:
    """What ``registry[name](...)`` does.

    * Plain, the state at first: the empty-input rule, then DeepGEMM's function.
    * Watched (:meth:`watch`, :meth:`record`): unseen calls follow a policy, arguments are checked, calls recorded.
    * Sealed (:meth:`seal`): DeepGEMM's function itself.

    Every change holds for all who keep the kernel type, from the next call on. Nothing here touches the device, so
    that any state may be captured in a CUDA graph.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._coverage = Coverage()
        self._unseen = Unseen.COMPILE
        self._told: set[tuple[object, ...]] = set()
        self._debug_target: Target | None = None
        self._recordings: tuple[Recording, ...] = ()
        self._sealed = False
        self._lock = threading.RLock()
        registry.listen(self)

    # ---- states ----------------------------------------------------------------------------------------------

    def watch(self, unseen: Unseen | str = Unseen.WARN, *, debug: bool = False, target: Target | None = None) -> None:
        """What happens to calls until :meth:`seal`.

        Args:
            unseen: policy for a call that no entry foresees (see :meth:`cover`).
            debug: check sizes and dtypes of every call.
            target: the GPU that debug mode checks for; default: read off the device.

        Raises:
            UnknownNameError: no such policy.
            MissingRequirement: debug mode, no target, and no device.
        """
        policy = Unseen.parse(unseen)
        with self._lock:
            self._debug_target = (target or detect_target()) if debug else None
            self._unseen = policy
            self._sealed = False
            self._bind_all()

    def cover(self, manifest: Manifest, broken: Iterable[BrokenKernel] = ()) -> None:
        """Foresee the entries of a manifest, but where they need kernels that do not compile.

        A warm-up through this registry does so by itself.
        """
        with self._lock:
            self._coverage.add(manifest, broken)

    @hookimpl
    def kregistry_warmup_finished(self, manifest: Manifest, report: WarmupReport) -> None:
        self.cover(manifest, report.broken)

    def seal(self) -> Mapping[str, Callable[..., Any]]:
        """Bind each kernel type to DeepGEMM's own function, plus the empty check only where its version lacks one.

        Returns the bound functions by name: a caller that keeps one of them calls DeepGEMM with nothing in between.
        Kernel types that the installed DeepGEMM lacks are left out, and raise as before when they are called.

        Raises:
            MissingRequirement: deep_gemm cannot be imported.
        """
        with self._lock:
            self._sealed = True
            sealed = self._bind_all()
        self._registry.hook.kregistry_sealed(kernel_types=tuple(sealed))
        return MappingProxyType(sealed)

    @property
    def sealed(self) -> bool:
        return self._sealed

    @contextmanager
    def record(self) -> Iterator[Recording]:
        """Record the calls through this registry while the block runs.

        Functions that :meth:`seal` has returned are out of sight; ``kregistry record`` sees every call of a process.
        """
        recording = Recording()
        with self._lock:
            self._recordings = (*self._recordings, recording)
            self._bind_all()
        try:
            yield recording
        finally:
            with self._lock:
                self._recordings = tuple(each for each in self._recordings if each is not recording)
                self._bind_all()

    # ---- binding ---------------------------------------------------------------------------------------------

    def _bind_all(self) -> dict[str, Callable[..., Any]]:
        """Bring every kernel type into the current state; the sealed functions by name."""
        watchers = tuple(self._watchers())
        sealed: dict[str, Callable[..., Any]] = {}
        version = _deep_gemm_version() if self._sealed else ""
        for registration in self._registry.registrations():
            kernel_type = registration.kernel_type
            function = _sealed_call(kernel_type, version) if self._sealed else None
            if function is not None and kernel_type is self._own(kernel_type.name):
                sealed[kernel_type.name] = function
            if watchers:
                bind(kernel_type, _watched(kernel_type, watchers))
            elif function is not None:
                bind(kernel_type, function)
            else:
                unbind(kernel_type)
        return sealed

    def _own(self, name: str) -> KernelType | None:
        """The kernel type of that name, unless two plugins offer it and none was chosen."""
        try:
            return self._registry[name]
        except KregistryError:
            return None

    def _watchers(self) -> Iterator[_Watcher]:
        if self._debug_target is not None and not self._sealed:
            yield _debug_watcher(self._debug_target)
        if self._unseen is not Unseen.COMPILE and not self._sealed:
            yield self._refuse_or_tell
        for recording in self._recordings:
            yield _recording_watcher(recording)

    def _refuse_or_tell(
        self,
        kernel_type: KernelType,
        shape: Mapping[str, Value],
        m: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        if self._coverage.covers(kernel_type, shape, m):
            return
        words = " ".join(f"{name}={'none' if value is None else value}" for name, value in shape.items())
        crashes = self._coverage.crashes(kernel_type, shape, m)
        error = UnseenCallError(kernel_type.name, words, kernel_type.run_dimension.name, m, crashes)
        if self._unseen is Unseen.ERROR:
            raise error
        key = (kernel_type.name, words, m)
        with self._lock:
            new = key not in self._told
            self._told.add(key)
        if new:
            _log.warning("%s", error.message)
            self._registry.hook.kregistry_unseen_call(kernel_type=kernel_type.name, shape=shape, m=m)


def _watched(kernel_type: KernelType, watchers: tuple[_Watcher, ...]) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        m = kernel_type.read_m(*args, **kwargs)
        if m == 0 and kernel_type.empty_input is not EmptyInput.LAUNCH:
            return kernel_type.handle_empty(*args, **kwargs)
        shape = read_call(kernel_type, args, kwargs)
        for watcher in watchers:
            watcher(kernel_type, shape, m, args, kwargs)
        return kernel_type.launch(*args, **kwargs)

    return watched


def _recording_watcher(recording: Recording) -> _Watcher:
    def record(kernel_type: KernelType, shape: Mapping[str, Value], m: int, *_: object) -> None:
        recording.add(kernel_type.name, shape, m)

    return record


def _debug_watcher(target: Target) -> _Watcher:
    def check(
        kernel_type: KernelType,
        shape: Mapping[str, Value],
        m: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        check_call(kernel_type, target, shape, m, args, kwargs)

    return check


def _sealed_call(kernel_type: KernelType, deep_gemm_version: str) -> Callable[..., Any] | None:
    try:
        return kernel_type.sealed(deep_gemm_version)
    except MissingRequirement:
        return None


def _deep_gemm_version() -> str:
    try:
        import deep_gemm
    except ImportError as error:
        raise MissingRequirement(
            f"deep_gemm cannot be imported: {error}", "kregistry doctor names what is missing"
        ) from error
    return str(getattr(deep_gemm, "__version__", "0"))
