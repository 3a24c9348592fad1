"""Rule for calls that look like those of a kernel type, and need other kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.arguments import kernels_of, probe_with, read_with
from kregistry.conformance.rules.calls import settings_of
from kregistry.conformance.rules.stub import probed_shapes
from kregistry.deep_gemm.settings import read_call
from kregistry.errors import KregistryError
from kregistry.kernel_type import Call, KernelType, Shape
from kregistry.kernel_type.signature import parameters_of
from kregistry.registry import Registry

#: dtype of a tensor -> the one that is given instead.
_OTHER_DTYPES = {"bfloat16": "float32", "float32": "bfloat16"}


@rule("KR227", "calls that need other kernels are not read as its own", needs=("KR205", "KR211", "KR221"))
def other_calls(subject: KernelTypeUnderTest) -> None:
    """Its own calls with a tensor of another dtype, and calls of the other installed kernel types of its function."""
    m = subject.at("tail")
    for shape, _ in probed_shapes(subject):
        if not parameters_of(subject.kernel_type.function()):
            raise NotApplicable("Python cannot tell the parameters of the function")
        with subject.applied(shape):
            _check_dtypes(subject, shape, m)
    for other in _of_the_same_function(subject.kernel_type):
        _check_other(subject, KernelTypeUnderTest(other, subject.machine))


def _check_dtypes(subject: KernelTypeUnderTest, shape: Shape, m: int) -> None:
    kernel_type = subject.kernel_type
    call = kernel_type.arguments(subject.meta_buffers(shape, m), m)
    for name, dtype in _tensors(kernel_type, call):
        keywords = {name: {"argument": name, "as": _OTHER_DTYPES[dtype]}}
        read = read_with(kernel_type, shape, call, keywords)
        found = kernels_of(probe_with(subject, shape, m, keywords)) if read is not None else None
        if found and read is not None:
            wanted = kernels_of(probe_with(subject, read, m, {}))
            if found != wanted:
                what = f"a call with {name} in {_OTHER_DTYPES[dtype]}, which is read as {read}"
                raise _violation(what, found, wanted, location(shape, m))


def _tensors(kernel_type: KernelType, call: Call) -> Iterator[tuple[str, str]]:
    """(parameter, dtype) of each tensor that a call gives, where another dtype is tried."""
    given = {**dict(zip(parameters_of(kernel_type.function()), call.args)), **call.kwargs}
    for name, value in given.items():
        dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
        if dtype in _OTHER_DTYPES:
            yield name, dtype


def _of_the_same_function(kernel_type: KernelType) -> Iterator[KernelType]:
    names = set(kernel_type.function_names)
    registry = Registry()
    for other in (registry[name] for name in registry.names()):
        if type(other) is not type(kernel_type) and names & set(other.function_names):
            yield other


def _check_other(subject: KernelTypeUnderTest, other: KernelTypeUnderTest) -> None:
    kernel_type, m = subject.kernel_type, other.at("tail")
    archs = {target.arch for target in subject.targets}
    for shape in other.every_shape:
        if shape.target.arch not in archs:
            continue
        with other.applied(shape):
            call = other.kernel_type.arguments(other.meta_buffers(shape, m), m)
            read = _read(kernel_type, shape, call)
        if read is None:
            continue
        found = kernels_of(probe_with(other, shape, m, {}))
        wanted = kernels_of(probe_with(subject, read, m, {}))
        if found and found != wanted:
            what = f"a call of {other.kernel_type.name}, which is read as {read}"
            raise _violation(what, found, wanted, location(shape, m))


def _read(kernel_type: KernelType, shape: Shape, call: Call) -> Shape | None:
    try:
        read: Mapping[str, Any] = read_call(kernel_type, call.args, call.kwargs)
        return kernel_type.resolve({**settings_of(kernel_type, shape), **read}, shape.target)
    except (KregistryError, TypeError):  # TypeError: the function has no such parameters
        return None
    except Exception as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        wanted = "a ShapeError, or a shape: recognition passes such calls to each kernel type of the function"
        raise RuleViolation(f"read_shape() of a call of {shape.kernel_type}", got, wanted, location(shape)) from error


def _violation(what: str, found: tuple[str, ...], wanted: tuple[str, ...] | None, where: str) -> RuleViolation:
    told = "no launch" if wanted is None else ", ".join(wanted) or "no kernel"
    return RuleViolation(what, ", ".join(found), f"{told}, as planned; or a ShapeError", where)
