"""Rule for lists of numbers in a call, such as the rows of each group: engines give others than ``arguments()``."""

from __future__ import annotations

from collections.abc import Iterator

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.arguments import probe_with, read_with
from kregistry.conformance.rules.stub import probed_shapes
from kregistry.errors import ShapeError
from kregistry.kernel_type import EmptyInput, KernelType, Shape, Size
from kregistry.kernel_type.signature import parameters_of

#: From a small example to the sizes of a model.
_FACTOR = 32
#: Numbers of a list that a message shows.
_SHOWN = 4


@rule("KR229", "read_m() finds the kernels of a call whatever its lists hold", needs=("KR205", "KR115"))
def listed(subject: KernelTypeUnderTest) -> None:
    """Move one step of rows from the largest number of a list to another one, and turn the list round."""
    for shape, _ in probed_shapes(subject):
        for each in (shape, *_larger(subject.kernel_type, shape)):
            with subject.applied(each):
                _check(subject, each, subject.at("block"))


def _larger(kernel_type: KernelType, shape: Shape) -> Iterator[Shape]:
    """The shape with all sizes multiplied: with few blocks, one kernel does for all numbers."""
    sizes = [each.name for each in kernel_type.dimensions if isinstance(each, Size)]
    larger = {name: _FACTOR * value for name in sizes if type(value := shape[name]) is int}
    try:
        yield kernel_type.resolve({**shape, **larger}, shape.target)
    except ShapeError:
        return


def _check(subject: KernelTypeUnderTest, shape: Shape, m: int) -> None:
    kernel_type = subject.kernel_type
    call = kernel_type.arguments(subject.meta_buffers(shape, m), m)
    plain = read_with(kernel_type, shape, call, {})
    for name, numbers in _lists(kernel_type, shape, m, subject):
        if read_with(kernel_type, shape, call, {name: numbers}) != plain:
            continue  # the list is a dimension, and the call one of another shape
        probed = probe_with(subject, shape, m, {name: numbers})
        if probed.error or not probed.values or probed.values[0].serving.error:
            continue  # DeepGEMM refuses it
        found, read = probed.values[0].serving.kernels, probed.values[0].read
        what = f"a call with {name}={_shown(numbers)}, of which read_m() makes {read}"
        if read == 0 and found and kernel_type.empty_input is not EmptyInput.LAUNCH:
            wanted_value = "a value above 0: for 0 nothing is launched, and DeepGEMM launches kernels for this call"
            raise RuleViolation(what, ", ".join(found), wanted_value, location(shape))
        if read is None or read < kernel_type.run_dimension.start:
            continue  # no call of the kernel type
        planned = probe_with(subject, shape, read, {})
        wanted = planned.values[0].serving.kernels if planned.values and not planned.error else ()
        if found != wanted:
            told = ", ".join(wanted) or "no kernel"
            raise RuleViolation(what, ", ".join(found) or "no kernel", f"{told}, as planned at {read}", location(shape))


def _lists(
    kernel_type: KernelType, shape: Shape, m: int, subject: KernelTypeUnderTest
) -> Iterator[tuple[str, list[int]]]:
    """(parameter, other numbers with the same sum) for each list of at least two whole numbers in a call."""
    call, step = kernel_type.arguments(subject.meta_buffers(shape, m), m), kernel_type.run_dimension.step
    parameters = [*parameters_of(kernel_type.function())]
    if not parameters:
        raise NotApplicable("Python cannot tell the parameters of the function")
    for name, value in {**dict(zip(parameters, call.args)), **call.kwargs}.items():
        if not isinstance(value, (list, tuple)) or len(value) < 2 or any(type(each) is not int for each in value):
            continue
        most = max(range(len(value)), key=lambda i: value[i])
        if list(value) != list(reversed(value)):
            yield name, list(reversed(value))
        other = 0 if most else 1
        if value[most] > step:
            yield name, [n + step * ((i == other) - (i == most)) for i, n in enumerate(value)]


def _shown(numbers: list[int]) -> str:
    return str(numbers) if len(numbers) <= _SHOWN else f"[{', '.join(map(str, numbers[:_SHOWN]))}, ...]"
