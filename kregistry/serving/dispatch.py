"""The state of a registry's calls: plain, watched, or sealed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from kregistry.deep_gemm.settings import observe, read_call
from kregistry.deep_gemm.version import UNKNOWN, deep_gemm_version
from kregistry.errors import KregistryError, MissingRequirement, ShapeError, UnseenCallError, describe_error
from kregistry.events import BrokenKernel, WarmupOutcome
from kregistry.import_hook import after_import
from kregistry.kernel_type import EmptyInput, KernelType, Value
from kregistry.kernel_type.display import show_shape
from kregistry.kernel_type.sealed_call import sealed_call
from kregistry.manifest import Manifest
from kregistry.recording.recording import Recording
from kregistry.registry import Registry
from kregistry.serving.checks import check_call
from kregistry.serving.coverage import Coverage
from kregistry.serving.policy import Unseen
from kregistry.target import Target, detect_target

_log = logging.getLogger("kregistry.serving")

#: Called before a call is made, with its kernel type, dimensions, run-time value and arguments.
_Watcher = Callable[[KernelType, Mapping[str, Value], int, tuple[Any, ...], Mapping[str, Any]], None]


class Dispatch:
    """Decides what ``registry[name](...)`` calls.

    * Plain, the first state: the empty-input rule, then DeepGEMM's function.
    * Watched (:meth:`watch`, :meth:`record`): calls are read first; a policy applies to those that no entry covers,
      arguments can be checked, calls can be recorded.
    * Sealed (:meth:`seal`): DeepGEMM's own function, with a guard where it does not obey the empty-input rule.

    Every change holds for all who keep the kernel type, from the next call on. Nothing here touches the device, so
    that any state may be captured in a CUDA graph. Make one object for a registry and keep it: a second one would know
    nothing of the state of the first, and bind the same kernel types. While one lives, another is refused, also for
    another view of the registry (:meth:`Registry.choosing`).

    Raises:
        InputError: the registry, or a view of it, has a Dispatch already.
    """

    def __init__(self, registry: Registry) -> None:
        registry.bound_by(self)
        self._registry = registry
        self._coverage = Coverage()
        self._unseen = Unseen.COMPILE
        self._reported: set[tuple[object, ...]] = set()
        self._debug_target: Target | None = None
        self._recordings: tuple[Recording, ...] = ()
        self._sealed = False
        self._lock = threading.RLock()

    # ---- states ----------------------------------------------------------------------------------------------

    def watch(self, unseen: Unseen | str = Unseen.WARN, *, debug: bool = False, target: Target | None = None) -> None:
        """Watch calls until :meth:`seal`.

        Args:
            unseen: the policy for a call that no entry covers (see :meth:`cover`).
            debug: check sizes and dtypes of the tensors of every call.
            target: the GPU that debug mode checks for; default: the device of this process.

        Raises:
            UnknownNameError: ``unseen`` names no policy.
            MissingRequirement: debug mode needs a target, and this process has no device.
        """
        policy = Unseen.parse(unseen)
        after_import("deep_gemm", observe)
        with self._lock:
            self._debug_target = (target or detect_target()) if debug else None
            self._unseen = policy
            self._sealed = False
            self._bind_all()

    def cover(self, manifest: Manifest, broken: Iterable[BrokenKernel] = ()) -> None:
        """Mark the entries of a manifest as covered, except values whose kernel does not compile.

        A warm-up with this object among its ``observers`` does so by itself.
        """
        with self._lock:
            self._coverage.add(manifest, broken)

    def warmed_up(self, manifest: Manifest, outcome: WarmupOutcome) -> None:
        """See :class:`kregistry.warm_up.WarmupObserver`."""
        self.cover(manifest, outcome.broken)

    def seal(self) -> Mapping[str, Callable[..., Any]]:
        """Bind each kernel type to DeepGEMM's own function, with a guard only where its version needs one.

        Returns the bound functions by name; a caller that keeps one of them also saves the call of the kernel type.
        Kernel types without a function in the installed DeepGEMM are left out, and raise as before when called.

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

        Calls of functions that :meth:`seal` has returned are not recorded. ``kregistry record`` records every call.
        """
        recording = Recording()
        after_import("deep_gemm", observe)
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
        """Bring every kernel type into the current state, and return the sealed functions by name."""
        watchers = tuple(self._watchers())
        sealed: dict[str, Callable[..., Any]] = {}
        version = _deep_gemm_version() if self._sealed else ""
        for registration in self._registry.registrations():
            kernel_type = registration.kernel_type
            function = _sealed_call(kernel_type, version) if self._sealed else None
            if function is not None and kernel_type is self._own(kernel_type.name):
                sealed[kernel_type.name] = function
            kernel_type.bind(_watched(kernel_type, watchers, self._unknown_call) if watchers else function)
        return sealed

    def _own(self, name: str) -> KernelType | None:
        """The kernel type of that name; ``None`` if two plugins offer it and none was chosen."""
        try:
            return self._registry[name]
        except KregistryError:
            return None

    def _watchers(self) -> Iterator[_Watcher]:
        if self._debug_target is not None and not self._sealed:
            yield _debug_watcher(self._debug_target)
        if self._unseen is not Unseen.COMPILE and not self._sealed:
            yield self._apply_policy
        for recording in self._recordings:
            yield _recording_watcher(recording)

    def _apply_policy(
        self,
        kernel_type: KernelType,
        shape: Mapping[str, Value],
        m: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        if self._coverage.covers(kernel_type, shape, m):
            return
        words = show_shape(shape)
        crashes = self._coverage.crashes(kernel_type, shape, m)
        error = UnseenCallError(kernel_type.name, words, kernel_type.run_dimension.name, m, crashes)
        if self._unseen is Unseen.ERROR:
            raise error
        if self._is_new(kernel_type.name, words, m):
            _log.warning("%s", error.message)
            self._registry.hook.kregistry_unseen_call(kernel_type=kernel_type.name, shape=shape, m=m)

    def _unknown_call(self, kernel_type: KernelType, m: int, reason: Exception) -> None:
        """A call that the kernel type cannot read: whatever DeepGEMM launches for it, no entry has planned."""
        text = reason.text if isinstance(reason, ShapeError) else describe_error(reason)
        error = UnseenCallError(kernel_type.name, "", kernel_type.run_dimension.name, m, unknown=text)
        watching = not self._sealed
        if watching and (self._unseen is Unseen.ERROR or self._debug_target is not None):
            raise error from reason
        if self._is_new(kernel_type.name, text, 0):
            _log.warning("%s", error.message)
            if watching and self._unseen is Unseen.WARN:
                self._registry.hook.kregistry_unseen_call(kernel_type=kernel_type.name, shape={}, m=m)

    def _is_new(self, *key: object) -> bool:
        with self._lock:
            new = key not in self._reported
            self._reported.add(key)
        return new


def _watched(
    kernel_type: KernelType,
    watchers: tuple[_Watcher, ...],
    unknown: Callable[[KernelType, int, Exception], None],
) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        m = kernel_type.read_m(*args, **kwargs)
        if m == 0 and kernel_type.empty_input is not EmptyInput.LAUNCH:
            return kernel_type.handle_empty(*args, **kwargs)
        try:
            shape = read_call(kernel_type, args, kwargs)
        except Exception as reason:  # whatever a reader of a plugin raises, the call is made
            unknown(kernel_type, m, reason)
        else:
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
        return sealed_call(kernel_type, deep_gemm_version)
    except MissingRequirement:
        return None


def _deep_gemm_version() -> str:
    try:
        import deep_gemm  # noqa: F401
    except ImportError as error:
        raise MissingRequirement(
            f"deep_gemm cannot be imported: {error}", "kregistry doctor names what is missing"
        ) from error
    return deep_gemm_version() or UNKNOWN
