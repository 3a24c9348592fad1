"""Rules for calls: their arguments, and the dimensions that can be read from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from kregistry.conformance.cases import sweep_of
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import CASES, FULL, RuleViolation, rule
from kregistry.errors import KregistryError, ShapeError
from kregistry.kernel_type import Buffers, Call, KernelType, Shape, Size, Value

if TYPE_CHECKING:
    import torch


@rule("KR113", "arguments and outputs are views of the buffers", cases=FULL, needs=("KR112",))
def views(subject: KernelTypeUnderTest, case: str) -> None:
    kernel_type, m = subject.kernel_type, subject.at(case)
    for shape in subject.every_shape:
        buffers = subject.meta_buffers(shape, m)
        names = {tensor.untyped_storage()._cdata: name for name, tensor in buffers.tensors.items()}
        roles = {name: spec.role for name, spec in kernel_type.buffers(shape, m).items()}
        call = kernel_type.arguments(buffers, m)
        passed = {names.get(tensor.untyped_storage()._cdata) for tensor in tensors_of(call)}
        if None in passed:
            wanted = "views of the buffers: warm-up and serving do not share a copy"
            raise RuleViolation(
                f"arguments(buffers, m={m})", "a tensor that lies in no buffer", wanted, location(shape)
            )
        for name, output in kernel_type.outputs(buffers, m).items():
            home = names.get(output.untyped_storage()._cdata)
            if home is None or roles[home] != "output":
                got = "a tensor that lies in no buffer" if home is None else f"a view of the {roles[home]} {home!r}"
                wanted = "a view of a buffer whose role is output"
                raise RuleViolation(f"outputs(buffers, m={m})[{name!r}]", got, wanted, location(shape))
            if home not in passed:
                wanted = "a view of a buffer that the launch is given"
                raise RuleViolation(
                    f"outputs(buffers, m={m})[{name!r}]", f"a view of {home!r}, which is not", wanted, location(shape)
                )


@rule("KR114", "the run-time value is read back from the call", cases=CASES, needs=("KR112",))
def run_time_value(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape in subject.every_shape:
        check_run_time_value(subject.kernel_type, subject.meta_buffers(shape, subject.at("largest")), m)


def check_run_time_value(kernel_type: KernelType, buffers: Buffers, m: int) -> None:
    call = kernel_type.arguments(buffers, m)
    found = kernel_type.read_m(*call.args, **call.kwargs)
    if type(found) is not int or found != m:
        raise RuleViolation(f"read_m(*arguments(buffers, m={m}))", repr(found), m, location(buffers.shape, m))


@rule("KR115", "the shape is read back from the call", cases=FULL, needs=("KR112",))
def shape_of_call(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape in subject.every_shape:
        with subject.applied(shape):
            check_shape_of_call(subject.kernel_type, subject.meta_buffers(shape, m), m)
            for value in (m, *(_policy_edges(subject.kernel_type, shape) if case == "largest" else ())):
                check_shape_of_call(subject.kernel_type, subject.meta_buffers(shape, subject.at("largest")), value)
        others = (*_distinct_sizes(subject.kernel_type, shape), *_equal_sizes(subject.kernel_type, shape, m))
        for other in others if case == "tail" else ():
            with subject.applied(other):
                check_shape_of_call(subject.kernel_type, subject.meta_buffers(other, m), m)


def _distinct_sizes(kernel_type: KernelType, shape: Shape) -> Iterator[Shape]:
    """The shape with one of two equal sizes made larger, for each such pair: swapped, they read the same before."""
    sizes = [each for each in kernel_type.dimensions if isinstance(each, Size) and type(shape[each.name]) is int]
    for i, each in enumerate(sizes):
        number = shape[each.name]
        if any(shape[other.name] == number for other in sizes[:i]):
            for factor in (1, 2, 4, 8):
                try:
                    larger: Any = number
                    yield kernel_type.resolve({**shape, each.name: larger + factor * each.multiple_of}, shape.target)
                    break
                except ShapeError:
                    continue


def _equal_sizes(kernel_type: KernelType, shape: Shape, m: int) -> Iterator[Shape]:
    """The shape with one size as large as m, or as another size: a reader that compares sizes mistakes them."""
    sizes = [each.name for each in kernel_type.dimensions if isinstance(each, Size) and type(shape[each.name]) is int]
    for name in sizes:
        for number in dict.fromkeys((m, *(shape[other] for other in sizes if other != name))):
            if number == shape[name]:
                continue
            try:
                equal = kernel_type.resolve({**shape, name: number}, shape.target)
            except ShapeError:
                continue
            yield equal


def _policy_edges(kernel_type: KernelType, shape: Shape) -> Iterator[int]:
    return chain.from_iterable(policy_steps(kernel_type, shape, sweep_of(kernel_type)[1:]))


def policy_steps(kernel_type: KernelType, shape: Shape, values: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The values before and after each change of a dimension that a policy varies."""
    for dimension in kernel_type.dimensions:
        if shape[dimension.name] not in dimension.policies:
            continue
        for before, after in pairwise(values):
            if shape.at(dimension, before) != shape.at(dimension, after):
                yield before, after


def check_shape_of_call(kernel_type: KernelType, buffers: Buffers, m: int) -> None:
    shape = buffers.shape
    call = kernel_type.arguments(buffers, m)
    read = kernel_type.read_shape(*call.args, **call.kwargs)
    what = f"read_shape(*arguments(buffers, m={m}))"
    try:
        found = kernel_type.resolve({**settings_of(kernel_type, shape), **read}, shape.target)
    except KregistryError as error:
        raise RuleViolation(
            what, f"{dict(read)}, which is not a shape: {error.message}", shape, location(shape, m)
        ) from error
    for dimension in kernel_type.dimensions:  # settings are read by kregistry, not by the kernel type
        policy = isinstance(shape[dimension.name], str) and shape[dimension.name] in dimension.policies
        wanted = shape.at(dimension, m) if policy else shape[dimension.name]
        if found[dimension.name] != wanted:
            got = f"{dimension.name}={found[dimension.name]}"
            raise RuleViolation(what, got, f"{dimension.name}={wanted}", location(shape, m))


def settings_of(kernel_type: KernelType, shape: Shape) -> dict[str, Value]:
    """The settings that a shape has, which may be one of another kernel type."""
    return {each.name: shape[each.name] for each in kernel_type.settings if each.name in shape}


@rule("KR117", "warm-up makes the call that serving makes", cases=FULL, needs=("KR113",))
def same_call(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape in subject.every_shape:
        for rows in dict.fromkeys((m, subject.at("largest"))):
            _check_same_call(subject, subject.meta_buffers(shape, rows), m)


def _check_same_call(subject: KernelTypeUnderTest, buffers: Buffers, m: int) -> None:
    kernel_type, shape = subject.kernel_type, buffers.shape
    recorder, calls = recorder_of(kernel_type)
    call = kernel_type.arguments(buffers, m)
    with subject.applied(shape):
        recorder.launch(*call.args, **call.kwargs)
    serving = [_call_text(call, buffers) for call in calls]
    calls.clear()
    with subject.applied(shape):
        recorder.execute(buffers, m)
    warm_up = [_call_text(call, buffers) for call in calls]
    if serving != warm_up or not serving:
        got = "; ".join(warm_up) or "no call of function()"
        wanted = "; ".join(serving) or "one call of function() by launch(*arguments(...))"
        raise RuleViolation(f"execute(buffers, m={m})", got, wanted, location(shape, m))


def recorder_of(kernel_type: KernelType) -> tuple[KernelType, list[Call]]:
    """The same kernel type, except that ``function()`` records its calls in a list and launches nothing."""
    calls: list[Call] = []

    def record(*args: Any, **kwargs: Any) -> None:
        calls.append(Call(args, kwargs))

    cls = type(type(kernel_type).__name__, (type(kernel_type),), {"function": lambda self: record})
    copy: KernelType = object.__new__(cls)
    copy.__dict__.update(vars(kernel_type))
    return copy, calls


def tensors_of(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in the arguments of a call, however nested."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Call):
        yield from tensors_of(value.args)
        yield from tensors_of(value.kwargs)
    elif isinstance(value, Mapping):
        yield from tensors_of(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from tensors_of(each)
    elif not isinstance(value, (str, int, float, type(None))) and not callable(value):
        names = {*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())}  # such as SymmBuffer
        yield from tensors_of([getattr(value, name) for name in names if hasattr(value, name)])


def _call_text(call: Call, buffers: Buffers) -> str:
    """A call as text; a tensor is shown by its buffer, size and offset."""
    import torch

    names = {tensor.untyped_storage()._cdata: name for name, tensor in buffers.tensors.items()}

    def show(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            name = names.get(value.untyped_storage()._cdata, "?")
            layout = "" if value.is_contiguous() else f" strides {tuple(value.stride())}"
            return f"{name}{list(value.shape)}{layout}@{value.storage_offset()}"
        if isinstance(value, (tuple, list)):
            return f"({', '.join(map(show, value))})"
        return repr(value)

    named = [f"{name}={show(value)}" for name, value in sorted(call.kwargs.items())]
    return f"function({', '.join([*map(show, call.args), *named])})"
