"""Rule for what a launch returns: all of it is compared, and it belongs to the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, poisoned_buffers
from kregistry.conformance.random_shapes import other_shapes
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.calls import tensors_of
from kregistry.conformance.rules.numerics import device_shapes
from kregistry.conformance.trial import filled_buffers, refill, results_of, synchronize
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import Buffers, Shape

if TYPE_CHECKING:
    import torch


#: Seeds of the launches after the one whose result is kept: tensors may be used in turn.
_NEXT_SEEDS = (82, 83, 84, 85)


@rule("KR317", "what a launch returns is compared, and stays as it is", needs=("KR310", "KR315"), on_device=True)
def belongs_to_the_caller(subject: KernelTypeUnderTest) -> None:
    """Launch, keep what came back, launch a few times with other inputs: what was kept is the same."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    if subject.device == "cpu":
        _check_aliases(subject, m)
    for shape in device_shapes(subject):
        poisoned = poisoned_buffers(kernel_type, shape, subject.padded_rows(m), NAN_POISON, subject.device)
        buffers, what, where = poisoned.buffers, "execute(buffers, m)", location(shape, m)
        refill(kernel_type, poisoned, m, 81, subject.device)
        with applied(kernel_type, shape):
            value = kernel_type.execute(buffers, m)
        synchronize(subject.device)
        kept = {position: (each, each.clone()) for position, each in _new_tensors(value, buffers).items()}
        for seed in _NEXT_SEEDS:
            refill(kernel_type, poisoned, m, seed, subject.device)
            with applied(kernel_type, shape):
                kernel_type.execute(buffers, m)
        synchronize(subject.device)
        for position, (each, before) in kept.items():
            if not _same(each, before):
                got = f"tensor {position} of what it returns is overwritten by one of the next launches"
                raise RuleViolation(what, got, "a tensor that stays as it is", where)
            if not _is_compared(subject, buffers, m, value, each):
                got = f"tensor {position} of what it returns does not matter to returned(value, buffers, m)"
                raise RuleViolation(what, got, "all of it: what is not compared may be wrong", where)


def _check_aliases(subject: KernelTypeUnderTest, m: int) -> None:
    """What is returned lies in an input for every shape, or for none: a caller writes to one and keeps the other."""
    kernel_type = subject.kernel_type
    seen: dict[bool, tuple[Shape, str]] = {}
    for shape in (*device_shapes(subject), *other_shapes(subject, subject.targets[0])):
        buffers = filled_buffers(kernel_type, shape, m, subject.padded_rows(m), 86, NAN_POISON, "cpu").buffers
        try:
            with applied(kernel_type, shape):
                value = kernel_type.execute(buffers, m)
        except Exception:  # any: KR312 launches these shapes too
            continue
        specs = kernel_type.buffers(shape, buffers.max_m)
        homes = [_home(each, buffers) for each in tensors_of(value) if each.numel()]
        shared = [name for name in homes if name and specs[name].role != "output"]
        if homes:
            seen.setdefault(bool(shared), (shape, shared[0] if shared else ""))
    if len(seen) > 1:
        shape, name = seen[True]
        got = f"the memory of {name!r}, and memory of its own for {seen[False][0]}"
        wanted = "the same for every shape: who writes to the one changes the other"
        raise RuleViolation("what execute(buffers, m) returns lies in", got, wanted, location(shape, m))


def _new_tensors(value: object, buffers: Buffers) -> dict[int, torch.Tensor]:
    """Position -> tensor, of the returned tensors that do not lie in the buffers."""
    found = enumerate(tensors_of(value))
    return {i: each for i, each in found if each.numel() and not _home(each, buffers)}


def _home(tensor: torch.Tensor, buffers: Buffers) -> str:
    """Name of the buffer whose memory holds a tensor; empty if none does.

    By address: a tensor that has come back through DLPack has a storage of its own, in the memory of the buffer.
    """
    for name, buffer in buffers.tensors.items():
        storage = buffer.untyped_storage()
        if 0 <= tensor.data_ptr() - storage.data_ptr() < storage.nbytes():
            return name
    return ""


def _is_compared(subject: KernelTypeUnderTest, buffers: Buffers, m: int, value: object, part: torch.Tensor) -> bool:
    """Whether the results change if a returned tensor is replaced by zeros, or by ones."""
    before = _results(subject, buffers, m, value)
    for number in (0, 1):
        part.fill_(number)
        after = _results(subject, buffers, m, value)
        if any(not _same(each, after[name]) for name, each in before.items()):
            return True
    return False


def _results(subject: KernelTypeUnderTest, buffers: Buffers, m: int, value: object) -> Mapping[str, torch.Tensor]:
    return {name: each.clone() for name, each in results_of(subject.kernel_type, buffers, m, value).items()}


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal, NaN included."""
    return bool(((a == b) | ((a != a) & (b != b))).all())
