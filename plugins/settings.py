"""DeepGEMM's process-wide settings as dimensions, and the scope that sets them around the calls of a shape."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any, TypeVar

from kregistry import Dimension, KernelType, Shape, ShapeError, Target, Value

_KernelTypeClass = TypeVar("_KernelTypeClass", bound=type[KernelType])
_Method = TypeVar("_Method", bound=Callable[..., Any])
#: The methods by which kernel types follow the number of SMs.
_FOLLOWERS: set[Callable[..., Any]] = set()

#: DeepGEMM's default on every arch.
_MK_ALIGNMENT = 128

MK_ALIGNMENT = Dimension(
    name="mk_alignment",
    meaning="rows that each group is aligned to: deep_gemm.set_mk_alignment_for_contiguous_layout()",
    unit="rows",
    default=_MK_ALIGNMENT,
    multiple_of=32,
    minimum=32,
)


@contextmanager
def mk_alignment(shape: Shape) -> Iterator[None]:
    """The alignment of a shape is in force; what was in force before returns afterwards."""
    import deep_gemm

    before = deep_gemm.get_mk_alignment_for_contiguous_layout()
    deep_gemm.set_mk_alignment_for_contiguous_layout(shape.mk_alignment)
    try:
        yield
    finally:
        deep_gemm.set_mk_alignment_for_contiguous_layout(before)


def current_mk_alignment() -> int:
    """What the process uses now; a process that has not imported DeepGEMM has not changed it."""
    deep_gemm = sys.modules.get("deep_gemm")
    return int(deep_gemm.get_mk_alignment_for_contiguous_layout()) if deep_gemm else _MK_ALIGNMENT


def check_version(kernel_type: str, dimension: str, value: str, least: str) -> None:
    """Refuse a value that DeepGEMM takes since a later version than the installed one.

    Raises:
        ShapeError: naming both versions.
    """
    import deep_gemm
    from packaging.version import Version

    found = getattr(deep_gemm, "__version__", "0")
    if Version(found) < Version(least):
        raise ShapeError(kernel_type, dimension, f"{value} needs DeepGEMM >= {least}, found {found}", "leave it out")


def _all_sms(target: Target) -> int:
    return target.num_sms


NUM_SMS = Dimension(
    name="num_sms",
    meaning="SMs that a launch may use: deep_gemm.set_num_sms(), for engines that share the GPU between two batches",
    unit="SMs",
    default=_all_sms,
    multiple_of=2,
    minimum=2,
    quiet=True,
)


#: Inside a scope: what its shape says, whatever GPU the shape is planned for.
_SAID: ContextVar[int | None] = ContextVar("num_sms", default=None)


def follows_num_sms(kernel_type: _KernelTypeClass) -> _KernelTypeClass:
    """Class decorator: kernels depend on the number of SMs, so it is a dimension too, and in force around calls.

    Kernels that DeepGEMM shares between numbers of SMs (transposing, packing, hc_prenorm) need no such dimension. What
    a class inherits from one that follows already is left as it is.
    """
    check, scope, read_shape = kernel_type.check, kernel_type.scope, kernel_type.read_shape

    @_follower
    @wraps(check)
    def check_with_num_sms(self: KernelType, shape: Shape) -> None:
        if shape.num_sms > shape.target.num_sms:
            text = f"{shape.num_sms} is more than the {shape.target.num_sms} of {shape.target.name}"
            raise ShapeError(self.name, NUM_SMS.name, text)
        check(self, shape)

    @_follower
    @contextmanager
    @wraps(scope)
    def scope_with_num_sms(self: KernelType, shape: Shape) -> Iterator[None]:
        with ExitStack() as settings:
            settings.enter_context(scope(self, shape))
            wanted = _wanted_sms(shape)
            if wanted is not None:
                settings.enter_context(_num_sms(self.name, wanted))
            token = _SAID.set(int(shape.num_sms))
            try:
                yield
            finally:
                _SAID.reset(token)

    @_follower
    @wraps(read_shape)
    def read_shape_with_num_sms(self: KernelType, *args: Any, **kwargs: Any) -> Mapping[str, Value]:
        said = _SAID.get()
        sms = _reduced_num_sms() if said is None else {NUM_SMS.name: said}
        return {**read_shape(self, *args, **kwargs), **sms}

    kernel_type.dimensions = (*(each for each in kernel_type.dimensions if each is not NUM_SMS), NUM_SMS)
    for name, method in (
        ("check", check_with_num_sms),
        ("scope", scope_with_num_sms),
        ("read_shape", read_shape_with_num_sms),
    ):
        if getattr(kernel_type, name) not in _FOLLOWERS:
            setattr(kernel_type, name, method)
    return kernel_type


def _follower(method: _Method) -> _Method:
    _FOLLOWERS.add(method)
    return method


@contextmanager
def _num_sms(kernel_type: str, wanted: int) -> Iterator[None]:
    """A number of SMs is in force; what was in force before returns afterwards."""
    import deep_gemm

    try:
        before = deep_gemm.get_num_sms()
        deep_gemm.set_num_sms(wanted)
    except RuntimeError as error:
        text = f"set_num_sms({wanted}) is refused: {str(error).splitlines()[0]}"
        raise ShapeError(kernel_type, NUM_SMS.name, text, "it needs a GPU, or the stub of a plan") from error
    try:
        yield
    finally:
        deep_gemm.set_num_sms(before)


def _wanted_sms(shape: Shape) -> int | None:
    """What must be set around calls of a shape; ``None`` if that is in force already.

    The default is all SMs of the device of this process, whatever GPU the shape is planned for.
    """
    if shape.num_sms != shape.target.num_sms:
        return int(shape.num_sms)
    reduced = _reduced_num_sms()
    return _device_sms() if reduced else None


def _reduced_num_sms() -> Mapping[str, Value]:
    """The number of SMs, where this process has changed it; DeepGEMM itself asks the device, which must exist."""
    deep_gemm = sys.modules.get("deep_gemm")
    if deep_gemm is None or not _device_sms():
        return {}
    current = int(deep_gemm.get_num_sms())
    return {} if current == _device_sms() else {NUM_SMS.name: current}


@lru_cache(maxsize=1)
def _device_sms() -> int:
    """SMs of the device of this process, 0 if there is none."""
    import torch

    return (
        torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count
        if torch.cuda.is_available()
        else 0
    )
