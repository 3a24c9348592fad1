"""Rules for outputs and results: what a launch may write is declared, and all of it is compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    """Change a row or a column of an output: the results must change with it."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    if subject.returns_results:
        return  # its results are in the return value, which exists after a launch only
    for shape in subject.every_shape:
        poisoned = poisoned_buffers(kernel_type, shape, subject.padded_rows(m), NAN_POISON, "cpu")
        for tensor in poisoned.buffers.tensors.values():
            _fill_distinct(tensor)
        before = _results(kernel_type, poisoned.buffers, m)
        for name, output in kernel_type.outputs(poisoned.buffers, m).items():
            for words, part in _parts(output):
                before_part = part.clone()
                part.copy_(part.float() + 1)
                after = _results(kernel_type, poisoned.buffers, m)
                part.copy_(before_part)
                if all(each.equal(after[result]) for result, each in before.items()):
                    what = f"results(buffers, m={m}) after a change of {words} of the output {name!r}"
                    wanted = "other results: what is not compared may be wrong"
                    raise RuleViolation(what, "the same results", wanted, location(shape, m))


def _fill_distinct(tensor: torch.Tensor) -> None:
    """Small numbers that differ along the last dimension: an output may hold indices, which results may follow."""
    import torch

    columns = tensor.shape[-1] if tensor.dim() else 1
    tensor.copy_((torch.arange(columns) % 8 + 1).float().expand(tensor.shape))


def _results(kernel_type: KernelType, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
    return {name: each.double().clone() for name, each in kernel_type.results(buffers, m).items()}


def _parts(output: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Parts of a tensor along each of its dimensions, with their names."""
    for dim in range(output.dim()):
        size = output.shape[dim]
        for index in sorted({*range(0, size, max(1, size // _PROBES)), size - 1} if size else ()):
            if output.numel():
                yield f"index {index} in dimension {dim}", output.select(dim, index)


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
