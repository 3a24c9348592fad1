"""Rules for outputs and results: what a launch may write is declared, and all of it is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, Poisoned, elements, poisoned_buffers
from kregistry.conformance.rule import FULL, RuleViolation, rule
from kregistry.conformance.rules.filling import given_to
from kregistry.kernel_type import Buffers, KernelType, Shape

if TYPE_CHECKING:
    import torch

#: Rows and columns of an output that are changed, one at a time; of larger ones, as many at even distances.
_PROBES = 80


@rule("KR128", "every output is compared with the reference", needs=("KR121",))
def compared(subject: KernelTypeUnderTest) -> None:
    """Change a row or a column of an output, its sign, or the order of its columns: the results change."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    if subject.returns_results:
        return  # its results are in the return value, which exists after a launch only
    for shape in subject.every_shape:
        poisoned = poisoned_buffers(kernel_type, shape, subject.padded_rows(m), NAN_POISON, "cpu")
        silent = _silent(kernel_type, poisoned, m, _numbers)
        if silent:
            with suppress(IndexError, RuntimeError):  # an output holds indices, and bytes make large ones
                silent &= _silent(kernel_type, poisoned, m, _bytes)
        for name, words in sorted(silent):
            what = f"results(buffers, m={m}) after a change of {words} of the output {name!r}"
            raise RuleViolation(
                what, "the same results", "other results: what is not compared may be wrong", location(shape, m)
            )


def _silent(
    kernel_type: KernelType, poisoned: Poisoned, m: int, contents: Callable[[torch.Tensor], None]
) -> set[tuple[str, str]]:
    """(output, change) of the changes that the results do not show, with these contents of all buffers."""
    silent: set[tuple[str, str]] = set()
    for tensor in poisoned.buffers.tensors.values():
        contents(tensor)
    before = _results(kernel_type, poisoned.buffers, m)
    for name, output in kernel_type.outputs(poisoned.buffers, m).items():
        for words, part, changed in _changes(output):
            before_part = part.clone()
            part.copy_(changed(part))
            after = _results(kernel_type, poisoned.buffers, m)
            part.copy_(before_part)
            if all(each.equal(after[result]) for result, each in before.items()):
                silent.add((name, words))
    return silent


def _numbers(tensor: torch.Tensor) -> None:
    """Small random numbers: an output may hold indices, which results may follow."""
    import torch

    tensor.copy_(torch.randint(1, 9, tensor.shape, generator=torch.Generator().manual_seed(0)).float())


def _bytes(tensor: torch.Tensor) -> None:
    """Integers whose bytes are small numbers: an output may hold four scale factors in one of them."""
    _numbers(tensor)
    if not tensor.dtype.is_floating_point:
        tensor.mul_(sum(1 << 8 * byte for byte in range(tensor.element_size())))


def _results(kernel_type: KernelType, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
    return {name: each.double().clone() for name, each in kernel_type.results(buffers, m).items()}


def _changes(output: torch.Tensor) -> Iterator[tuple[str, torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]]:
    """Changes of an output: a name, the part that changes, and its new contents."""
    for dim in range(output.dim()):
        size = output.shape[dim]
        for index in sorted({*range(0, size, max(1, size // _PROBES)), size - 1} if size else ()):
            if output.numel():
                yield f"index {index} in dimension {dim}", output.select(dim, index), lambda part: part.float() + 1
    if output.dtype.is_floating_point and output.numel():
        yield "the sign", output, lambda part: -part.float()
        if not output.float().flip(-1).equal(output.float()):
            yield "the order in the last dimension", output, lambda part: part.float().flip(-1)


@rule("KR134", "what a launch may write is declared, and depends on m only", cases=FULL, needs=("KR124",))
def declared_writes(subject: KernelTypeUnderTest, case: str) -> None:
    kernel_type, m = subject.kernel_type, subject.at(case)
    for shape in subject.every_shape:
        rows = subject.padded_rows(m)
        poisoned = poisoned_buffers(kernel_type, shape, rows, NAN_POISON, "cpu")
        writable = elements(kernel_type, poisoned, lambda buffers: kernel_type.writable(buffers, m))
        outputs = elements(kernel_type, poisoned, lambda buffers: kernel_type.outputs(buffers, m))
        untouched = elements(kernel_type, poisoned, lambda buffers: kernel_type.untouched(buffers, m))
        given = given_to(kernel_type, poisoned, m)
        where = location(shape, m)
        for name, spec in kernel_type.buffers(shape, rows).items():
            if bool((outputs[name] & ~writable[name]).any()):
                raise RuleViolation(f"writable(buffers, m={m})", f"less of {name!r} than outputs()", "all of it", where)
            if spec.role != "output":
                continue
            if not bool(outputs[name].any()):
                raise RuleViolation(f"outputs(buffers, m={m})", f"nothing of {name!r}", "what is written", where)
            silent = int((given[name] & ~writable[name] & ~untouched[name]).sum())
            if silent:
                got = f"{silent} elements of {name!r} that are neither outputs, writable nor untouched"
                raise RuleViolation(f"arguments(buffers, m={m})", got, "a launch may write all of an output", where)
        padding = {name: int((writable[name] & ~outputs[name]).sum()) for name in writable}
        _check_padding(kernel_type, shape, m, rows, padding, where)


def _check_padding(
    kernel_type: KernelType, shape: Shape, m: int, rows: int, padding: Mapping[str, int], where: str
) -> None:
    """In larger buffers, a launch may write as much besides its outputs as in small ones."""
    step = kernel_type.run_dimension.step
    larger = rows + -(-512 // step) * step
    poisoned: Poisoned = poisoned_buffers(kernel_type, shape, larger, NAN_POISON, "cpu")
    writable = elements(kernel_type, poisoned, lambda buffers: kernel_type.writable(buffers, m))
    outputs = elements(kernel_type, poisoned, lambda buffers: kernel_type.outputs(buffers, m))
    for name, small in padding.items():
        large = int((writable[name] & ~outputs[name]).sum())
        if large > small:
            what = f"writable(buffers for {larger}, m={m})"
            got = f"{large} elements of {name!r} besides the outputs"
            raise RuleViolation(what, got, f"the {small} of buffers for {rows}: padding is bounded", where)
