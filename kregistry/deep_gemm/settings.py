"""How process-wide settings of DeepGEMM are put in force, and how they are read back."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from types import ModuleType
from typing import Any

from kregistry.deep_gemm.known_settings import KNOWN
from kregistry.deep_gemm.setters import last_argument, observe_setters, remember
from kregistry.deep_gemm.version import deep_gemm_version
from kregistry.errors import ShapeError
from kregistry.kernel_type import KernelType, Setting, Shape, Value
from kregistry.target import Target, detect_target

_WITHOUT_GETTER = tuple(setting.set for setting in KNOWN if not setting.get)

#: Held while a setting is changed: DeepGEMM has one value for all threads of the process.
_CHANGED = threading.RLock()


@contextmanager
def applied(kernel_type: KernelType, shape: Shape) -> Iterator[None]:
    """The settings of a shape are in force; what was in force before returns afterwards.

    A caller of :meth:`KernelType.execute` enters it once around all calls of a shape. A default is that of the device
    of this process, whatever GPU the shape is planned for. A server sets such things itself.

    DeepGEMM has one value for all threads of a process. While one thread has changed a setting, another thread that has
    to change one waits at its entry. A thread that entered before, with nothing to change, is not protected: its
    launches meanwhile use the value of the other thread. Enter and leave in the same thread, and do not wait inside for
    a thread that enters as well.

    Raises:
        ShapeError: the installed DeepGEMM has no such setting, does not take a value of the shape, or fails to return
            the value in force.
        ModuleNotFoundError: DeepGEMM is not installed, and one of its settings would have to be changed.
    """
    _check_versions(kernel_type, shape)
    if kernel_type.settings:
        with suppress(ModuleNotFoundError):  # then there is no setting, and nothing can be launched
            import deep_gemm  # noqa: F401 - a default of a kernel type may be another than DeepGEMM's own
    with ExitStack() as restore:
        for setting in kernel_type.settings:
            value = shape[setting.name]
            if value == setting.dimension.default_for(shape.target):
                if _changed_in_this_process(kernel_type.name, setting):
                    restore.enter_context(_in_force(kernel_type.name, setting, _default_here(setting)))
            else:
                restore.enter_context(_in_force(kernel_type.name, setting, value))
        yield


def read_call(kernel_type: KernelType, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Value]:
    """The dimensions of a real call, with the settings of this process that do not have their default.

    Raises:
        ShapeError: the call belongs to another kernel type of the same function, gives something that no dimension can
            be, or DeepGEMM fails to return a setting.
    """
    found = kernel_type.read_shape(*args, **kwargs)
    for name, value in found.items():
        if value is not None and not isinstance(value, (bool, int, str)):
            raise ShapeError(kernel_type.name, name, f"a call with a {type(value).__name__} for {name}")
    return {**found, **current(kernel_type)}


def current(kernel_type: KernelType) -> dict[str, Value]:
    """The settings of this process that a kernel type declares, those apart that have their default.

    Raises:
        ShapeError: DeepGEMM fails to return a setting.
    """
    return {
        each.name: _get(kernel_type.name, each)
        for each in kernel_type.settings
        if (not each.archs or _matters_here(each)) and _changed_in_this_process(kernel_type.name, each)
    }


def values_in_force(settings: Iterable[Setting]) -> tuple[object, ...]:
    """What is in force of some settings, as DeepGEMM says it and without a check: equal while nothing is set.

    Raises:
        Exception: DeepGEMM is not imported, or a getter fails.
    """
    deep_gemm = sys.modules["deep_gemm"]
    return tuple(
        [
            getattr(deep_gemm, each.get)() if each.get else last_argument(deep_gemm, each.set, None)
            for each in settings
            if hasattr(deep_gemm, each.get or each.set)
        ]
    )


def observe(deep_gemm: ModuleType) -> None:
    """Remember from now on what is set with the setters of a DeepGEMM module that have no getter."""
    observe_setters(deep_gemm, _WITHOUT_GETTER)


def is_known(setting: Setting) -> bool:
    """Whether the installed DeepGEMM has a setting (imports deep_gemm)."""
    import deep_gemm

    return hasattr(deep_gemm, setting.set)


def _matters_here(setting: Setting) -> bool:
    device = _device() if "deep_gemm" in sys.modules else None
    return device is None or setting.matters_on(device.arch)


def _changed_in_this_process(kernel_type: str, setting: Setting) -> bool:
    """Whether a value other than the default is in force; a process without DeepGEMM, or a GPU, has changed nothing."""
    deep_gemm = sys.modules.get("deep_gemm")
    if deep_gemm is None or (setting.needs_device and _device() is None):
        return False
    default = _default_here(setting)
    return default is not None and _is_readable(setting) and _get(kernel_type, setting) != default


def _is_readable(setting: Setting) -> bool:
    """Whether DeepGEMM, or what was seen of its setter, tells the value in force."""
    deep_gemm = sys.modules["deep_gemm"]
    return hasattr(deep_gemm, setting.get if setting.get else setting.set)


def _get(kernel_type: str, setting: Setting) -> Value:
    if not setting.get:
        return _last(kernel_type, setting)
    try:
        value: Value = getattr(sys.modules["deep_gemm"], setting.get)()
    except Exception as error:
        raise _refused(kernel_type, setting, f"{setting.get}() fails", error) from error
    return value


def _last(kernel_type: str, setting: Setting) -> Value:
    """The value of the last call of a setter that was seen, or the default.

    Raises:
        ShapeError: it is none that a manifest can give.
    """
    default = _default_here(setting)
    argument = last_argument(sys.modules["deep_gemm"], setting.set, setting.to_argument(default))
    try:
        value: Any = setting.from_argument(argument)
    except Exception:  # whatever the caller gave
        value = repr(argument)
    return setting.dimension.check(kernel_type, value)


def _put(kernel_type: str, setting: Setting, value: Value) -> None:
    deep_gemm, argument = sys.modules["deep_gemm"], setting.to_argument(value)
    try:
        getattr(deep_gemm, setting.set)(argument)
    except Exception as error:
        raise _refused(kernel_type, setting, f"{setting.set}({argument}) is refused", error) from error
    remember(deep_gemm, setting.set, argument)


def _refused(kernel_type: str, setting: Setting, text: str, error: Exception) -> ShapeError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    hint = "it needs a GPU, or the stub of a plan" if isinstance(error, RuntimeError) else ""
    return ShapeError(kernel_type, setting.name, f"{text}: {reason}", hint)


def _default_here(setting: Setting) -> Value:
    """The default on the device of this process; ``None`` if it depends on the device and there is none."""
    if not callable(setting.default):
        default: Value = setting.default
        return default
    device = _device()
    return None if device is None else setting.dimension.default_for(device)


@lru_cache(maxsize=1)
def _device() -> Target | None:
    import torch

    return detect_target(torch.cuda.current_device()) if torch.cuda.is_available() else None


@contextmanager
def _in_force(kernel_type: str, setting: Setting, value: Value) -> Iterator[None]:
    import deep_gemm

    if not hasattr(deep_gemm, setting.set):
        raise ShapeError(kernel_type, setting.name, f"this DeepGEMM has no {setting.set}()", "leave it out")
    with _CHANGED:
        before = _get(kernel_type, setting) if _is_readable(setting) else _default_here(setting)
        try:
            _put(kernel_type, setting, value)
        except BaseException:
            with suppress(ShapeError):  # it may have changed the value all the same
                _put(kernel_type, setting, before)
            raise
        try:
            yield
        finally:
            _put(kernel_type, setting, before)


def _check_versions(kernel_type: KernelType, shape: Shape) -> None:
    """Refuse a value that DeepGEMM takes in other versions than the installed one.

    Raises:
        ShapeError: naming both versions.
    """
    demands = {
        each.name: each.needs[value] for each in kernel_type.dimensions if (value := shape[each.name]) in each.needs
    }
    if not demands:
        return
    from packaging.specifiers import SpecifierSet

    found = deep_gemm_version()
    if found is None:
        raise ModuleNotFoundError("DeepGEMM is not installed", name="deep_gemm")
    for name, needed in demands.items():
        if not SpecifierSet(needed).contains(found, prereleases=True):
            value = "false" if shape[name] is False else shape[name]
            text = f"{value} needs DeepGEMM {needed}, found {found}"
            raise ShapeError(kernel_type.name, name, text, "leave it out")
