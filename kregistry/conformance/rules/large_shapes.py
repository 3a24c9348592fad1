"""Rule for shapes as large as those of a model: bytes are counted, nothing is allocated."""

from __future__ import annotations

from collections.abc import Iterator

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.buffers import declaration_fault_of
from kregistry.conformance.rules.large_values import large_values
from kregistry.errors import ShapeError
from kregistry.kernel_type import KernelType, Shape, Size

#: Factors of the sizes of an example: with the larger ones, buffers have more elements than 32 bits can count.
_FACTORS = (8, 256, 4096)
#: Share by which a workspace may become smaller where the input becomes larger: other kernels split their work less.
_SMALLER = 16


@rule("KR138", "the memory of large shapes is counted right", needs=("KR132",))
def large_shapes(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    for shape in subject.every_shape:
        values = (subject.at("tail"), *sorted(large_values(kernel_type, shape)))
        with subject.applied(shape):
            for larger in (shape, *larger_shapes(kernel_type, shape)):
                _check_values(kernel_type, larger, values)


def larger_shapes(kernel_type: KernelType, shape: Shape, factors: tuple[int, ...] = _FACTORS) -> Iterator[Shape]:
    """The shape with all sizes multiplied, and with one of them, as far as the kernel type takes it."""
    sizes = {each.name for each in kernel_type.dimensions if isinstance(each, Size)}
    numbers = {name: value for name, value in shape.items() if name in sizes and type(value) is int}
    for factor in factors:
        for names in (numbers.keys(), *({name} for name in numbers)):
            larger = {name: factor * value for name, value in numbers.items() if name in names}
            try:
                yield kernel_type.resolve({**shape, **larger}, shape.target)
            except ShapeError:
                continue


def _check_values(kernel_type: KernelType, shape: Shape, values: tuple[int, ...]) -> None:
    before = 0
    most = kernel_type.largest_m(shape)
    for m in values:
        if most is not None and m > most:
            break
        specs, where = kernel_type.buffers(shape, m), location(shape, m)
        for name, spec in specs.items():
            fault = declaration_fault_of(spec)
            if fault:
                raise RuleViolation(f"buffers(shape, max_m={m})[{name!r}]", fault[0], fault[1], where)
        said, held = kernel_type.memory_requirement(shape, m), sum(spec.nbytes for spec in specs.values())
        if said != held:
            what = f"memory_requirement(shape, max_m={m})"
            raise RuleViolation(what, f"{said} bytes", f"the {held} bytes that buffers() declares", where)
        workspace = kernel_type.workspace_requirement(shape, m)
        what = f"workspace_requirement(shape, max_m={m})"
        if type(workspace) is not int or workspace < 0:
            raise RuleViolation(what, repr(workspace), "an integer >= 0", where)
        if workspace < before // _SMALLER:
            wanted = f"about the {before} of a smaller value, or more"
            raise RuleViolation(what, f"{workspace} bytes", wanted, where)
        before = workspace
