"""Rules for real calls: read by position and by keyword, and cheaply."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import FrameType
from typing import Any

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.calls import recorder_of
from kregistry.errors import MissingRequirement
from kregistry.kernel_type import Call, EmptyInput, KernelType

#: The most lines of Python that reading the run-time value may take.
_MOST_LINES = 60
_CATCH_ALL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@rule("KR118", "a call is read by position and by keyword alike", needs=("KR114", "KR115", "KR116"))
def call_forms(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    for shape in subject.every_shape:
        buffers = subject.meta_buffers(shape, subject.at("largest"))
        for m in (0, subject.at("tail")):
            call, where = kernel_type.arguments(buffers, m), location(shape, m)
            with subject.applied(shape):
                wanted = kernel_type.read_shape(*call.args, **call.kwargs) if m else None
                for words, form in _forms(call, parameters_of(kernel_type), where):
                    _check(
                        f"read_m() of the call {words}",
                        partial(kernel_type.read_m, *form.args, **form.kwargs),
                        m,
                        where,
                    )
                    if not m and kernel_type.empty_input is not EmptyInput.LAUNCH:
                        what = f"launch() of an empty call {words}: the number of launches"
                        _check(what, partial(_launches, kernel_type, form), 0, where)
                if _takes_others(kernel_type):  # arguments that DeepGEMM's function may have besides
                    read = partial(kernel_type.read_m, *call.args, **call.kwargs, another_argument=None)
                    _check("read_m() of the call with another keyword", read, m, where)
                # read_shape() may leave alone what the declared signature does not name.
                for words, form in _forms(call, kernel_type.signature.parameters, where) if m else ():
                    what = f"read_shape() of the call {words}"
                    _check(what, partial(kernel_type.read_shape, *form.args, **form.kwargs), wanted, where)


def _takes_others(kernel_type: KernelType) -> bool:
    parameters = kernel_type.signature.parameters.parameters.values()
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


def _launches(kernel_type: KernelType, call: Call) -> int:
    recorder, calls = recorder_of(kernel_type)
    recorder.launch(*call.args, **call.kwargs)
    return len(calls)


def _check(what: str, read: Callable[[], Any], wanted: Any, where: str) -> None:
    try:
        found = read()
    except Exception as error:
        raise RuleViolation(what, f"{type(error).__name__}: {error}", wanted, where) from error
    if found != wanted:
        raise RuleViolation(what, repr(found), f"{wanted!r}, as of the call of arguments()", where)


def _forms(call: Call, signature: inspect.Signature, where: str) -> Iterator[tuple[str, Call]]:
    """The same call with all arguments by position, as far as they go, and with all of them by keyword."""
    try:
        bound = signature.bind(*call.args, **call.kwargs)
    except TypeError as error:
        wanted = f"arguments of the function: {signature}"
        raise RuleViolation("arguments(buffers, m)", str(error), wanted, where) from error
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    if inspect.Parameter.VAR_POSITIONAL not in {kinds[name] for name in bound.arguments}:
        named = {name: value for name, value in bound.arguments.items() if kinds[name] not in _CATCH_ALL}
        rest: Mapping[str, Any] = next(
            (bound.arguments[name] for name in bound.arguments if kinds[name] in _CATCH_ALL), {}
        )
        yield "with every argument by keyword", Call((), {**named, **rest})
    if inspect.Parameter.VAR_KEYWORD not in {kinds[name] for name in bound.arguments}:
        bound.apply_defaults()
    yield "with every argument by position", Call(bound.args, bound.kwargs)


def parameters_of(kernel_type: KernelType) -> inspect.Signature:
    """The parameters of DeepGEMM's function; those of the declared signature if it cannot be asked."""
    try:
        found = inspect.signature(kernel_type.function())
    except (MissingRequirement, ModuleNotFoundError, ValueError, TypeError):
        return kernel_type.signature.parameters
    kinds = {parameter.kind for parameter in found.parameters.values()}
    return kernel_type.signature.parameters if kinds <= set(_CATCH_ALL) else found


@rule("KR119", "reading the run-time value is cheap", needs=("KR114",))
def cheap(subject: KernelTypeUnderTest) -> None:
    kernel_type, m = subject.kernel_type, subject.at("largest")
    for shape in subject.every_shape:
        call = kernel_type.arguments(subject.meta_buffers(shape, m), m)
        lines = _traced_lines(partial(kernel_type.read_m, *call.args, **call.kwargs))
        if lines > _MOST_LINES:
            wanted = f"at most {_MOST_LINES}: every call of a server may need it"
            raise RuleViolation("read_m()", f"{lines} lines of Python", wanted, location(shape, m))


def _traced_lines(call: Callable[[], object]) -> int:
    """Lines that a call runs; each step of a generator counts as one."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event in ("line", "call")
        return trace

    earlier = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(earlier)
    return count
