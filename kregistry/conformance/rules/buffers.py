"""Rules for buffers: declaration, allocation and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import CASES, FULL, RuleViolation, rule
from kregistry.errors import InputError
from kregistry.kernel_type import Buffers, BufferSpec, Shape
from kregistry.kernel_type.buffers import ITEM_BYTES, contiguous_strides

if TYPE_CHECKING:
    import torch

_ROLES = ("input", "weight", "output")


@rule("KR110", "its buffers are declared completely", cases=FULL, needs=("KR106",))
def declared(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape in subject.every_shape:
        specs = subject.kernel_type.buffers(shape, m)
        what = f"buffers(shape, max_m={m})"
        if not isinstance(specs, Mapping) or not all(isinstance(spec, BufferSpec) for spec in specs.values()):
            raise RuleViolation(what, repr(specs), "a mapping of names to BufferSpec", location(shape))
        for name, spec in specs.items():
            fault = declaration_fault_of(spec)
            if fault:
                raise RuleViolation(f"{what}[{name!r}]", fault[0], fault[1], location(shape))
        if not subject.returns_results and not any(spec.role == "output" for spec in specs.values()):
            roles = sorted({spec.role for spec in specs.values()})
            raise RuleViolation(
                what, f"buffers of the roles {roles}", "at least one output, or returned()", location(shape)
            )


def declaration_fault_of(spec: BufferSpec) -> tuple[object, str] | None:
    """What is wrong with a declared buffer: what was found, and what is expected."""
    if spec.dtype not in ITEM_BYTES:
        return repr(spec.dtype), f"a dtype of {', '.join(sorted(ITEM_BYTES))}"
    if spec.role not in _ROLES:
        return repr(spec.role), f"a role of {', '.join(_ROLES)}"
    if not all(type(size) is int and size >= 0 for size in spec.shape):
        return f"the sizes {spec.shape}", "integers >= 0"
    strides = spec.strides or contiguous_strides(spec.shape)
    if len(strides) != len(spec.shape):
        return f"{len(strides)} strides for {len(spec.shape)} dimensions", "one for each"
    reach = 0 if 0 in spec.shape else 1 + sum((size - 1) * step for size, step in zip(spec.shape, strides))
    if spec.storage_elements < reach:
        return f"a storage of {spec.storage_elements} elements", f"the {reach} that its strides reach"
    return None


@rule("KR111", "allocation follows the declaration, and borrows tensors of the caller", cases=FULL, needs=("KR110",))
def allocated(subject: KernelTypeUnderTest, case: str) -> None:
    kernel_type, m = subject.kernel_type, subject.at(case)
    for shape in subject.every_shape:
        buffers = kernel_type.allocate_buffers(shape, m, device="meta")
        what = f"allocate_buffers(shape, {m})"
        if not isinstance(buffers, Buffers) or (buffers.shape, buffers.max_m) != (shape, m):
            raise RuleViolation(what, repr(buffers), f"Buffers of this shape with max_m={m}", location(shape))
        specs = kernel_type.buffers(shape, m)
        if set(buffers.tensors) != set(specs):
            raise RuleViolation(what, sorted(buffers.tensors), sorted(specs), location(shape))
        for name, spec in specs.items():
            tensor = buffers.tensors[name]
            wanted = (spec.shape, spec.dtype, spec.strides or contiguous_strides(spec.shape), "meta")
            found = (tuple(tensor.shape), _dtype(tensor), tuple(tensor.stride()), tensor.device.type)
            if found != wanted:
                raise RuleViolation(f"{what}.{name}", found, f"{wanted}, as declared", location(shape))
        _check_borrowing(subject, shape, m, buffers)


def _check_borrowing(subject: KernelTypeUnderTest, shape: Shape, m: int, buffers: Buffers) -> None:
    import torch

    name, tensor = next(iter(buffers.tensors.items()))
    again = subject.kernel_type.allocate_buffers(shape, m, "meta", lent={name: tensor})
    if again.tensors[name] is not tensor:
        raise RuleViolation(
            f"allocate_buffers(..., lent={{{name!r}: t}}).{name}", "another tensor", "t itself", location(shape)
        )
    wrong = torch.empty((*tensor.shape, 2), dtype=tensor.dtype, device="meta")
    try:
        subject.kernel_type.allocate_buffers(shape, m, "meta", lent={name: wrong})
    except InputError:
        return
    what = f"allocate_buffers(..., lent={{{name!r}: a tensor of shape {tuple(wrong.shape)}}})"
    raise RuleViolation(what, "no error", f"an InputError: it is declared as {tuple(tensor.shape)}", location(shape))


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


@rule("KR103", "the memory requirement is exact", cases=FULL, needs=("KR111",))
def memory(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape in subject.every_shape:
        said = subject.kernel_type.memory_requirement(shape, m)
        held = bytes_held(subject.kernel_type.allocate_buffers(shape, m, device="meta"))
        if said != held:
            what = f"memory_requirement(shape, max_m={m})"
            raise RuleViolation(what, f"{said} bytes", f"the {held} bytes that the buffers hold", location(shape))


def bytes_held(buffers: Buffers) -> int:
    """Bytes of the storages of buffers; a storage that several tensors share counts once."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage() for tensor in buffers.tensors.values()}
    return sum(storage.nbytes() for storage in storages.values())


@rule("KR112", "every smaller launch fits into the buffers", cases=CASES, needs=("KR111",))
def smaller_launches(subject: KernelTypeUnderTest, case: str) -> None:
    kernel_type, m = subject.kernel_type, subject.at(case)
    for shape in subject.every_shape:
        for max_m in {max(m, kernel_type.run_dimension.start), subject.at("largest")}:
            buffers = subject.meta_buffers(shape, max_m)
            for method in ("arguments", "outputs", "results", "writable"):
                try:
                    getattr(kernel_type, method)(buffers, m)
                except Exception as error:
                    what = f"{method}(buffers for {max_m}, m={m})"
                    raise RuleViolation(
                        what, f"{type(error).__name__}: {error}", "views of the buffers", location(shape)
                    ) from error
