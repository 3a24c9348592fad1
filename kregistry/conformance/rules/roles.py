"""Rule for the role of a buffer: warm-up borrows the weights of the model, and allocates everything else."""

from __future__ import annotations

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.errors import ShapeError
from kregistry.kernel_type import KernelType, Shape, Size


@rule("KR139", "a buffer whose size only the model decides is a weight", needs=("KR110", "KR132"))
def roles(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    for shape in subject.every_shape:
        small, large = (kernel_type.buffers(shape, subject.at(case)) for case in ("one", "largest"))
        for name, spec in small.items():
            what, where = f"the role of buffers()[{name!r}]", location(shape)
            grows = spec.shape != large[name].shape
            if spec.role == "weight" and grows:
                wanted = f"input: it has the sizes {large[name].shape} at m={subject.at('largest')}, as no weight has"
                raise RuleViolation(what, "weight", wanted, where)
            if spec.role != "input" or grows or "float" not in spec.dtype or len(spec.shape) < 2:
                continue
            if not _depends_on_the_call(kernel_type, shape, name, subject.at("one")):
                wanted = "weight: its sizes do not vary with m, and warm-up allocates a copy of what is no weight"
                raise RuleViolation(what, "input", wanted, where)


def _depends_on_the_call(kernel_type: KernelType, shape: Shape, name: str, m: int) -> bool:
    """Whether a size that differs from call to call is one of the buffer: keys, pages of a cache."""
    before = kernel_type.buffers(shape, m)[name].shape
    for dimension in kernel_type.dimensions:
        number = shape[dimension.name]
        if dimension.affects_kernel or not isinstance(dimension, Size) or type(number) is not int:
            continue
        try:
            larger = kernel_type.resolve({**shape, dimension.name: 2 * number}, shape.target)
        except ShapeError:
            continue
        if kernel_type.buffers(larger, m)[name].shape != before:
            return True
    return False
