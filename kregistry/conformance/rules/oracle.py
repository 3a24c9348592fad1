"""Rules for the oracle: the reference must depend on every input, on nothing else, and not on the function itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from kregistry.call_watch import watching_calls
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, OTHER_POISON, Poisoned, poisoned_buffers
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.filling import INDEX_TYPES
from kregistry.conformance.trial import filled_buffers, reference_or_none
from kregistry.errors import MissingRequirement
from kregistry.kernel_type import BufferSpec, KernelType, Shape

if TYPE_CHECKING:
    import torch

#: Seeds of the integers that fill() draws, and the largest of indices and counts: packed scale factors are larger.
_SEEDS_OF_INDICES, _MOST_INDEX = 4, 1 << 16
_NEVER_FILLED = -(1 << 30)
#: Indices begin at zero, and counts are small at small values; an exponent of a scale factor is larger.
_LEAST_SCALE = 64


@rule("KR126", "the reference depends on every input", needs=("KR124",))
def every_input_counts(subject: KernelTypeUnderTest) -> None:
    """Replace one input at a time: by that of another seed, all of it or the last column, and reversed."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    silent: dict[str, RuleViolation] = {}
    counted: set[str] = set()
    for shape in subject.every_shape:
        max_m = max(m, kernel_type.run_dimension.start)
        mine = filled_buffers(kernel_type, shape, m, max_m, 0, NAN_POISON, "cpu")
        other = filled_buffers(kernel_type, shape, m, max_m, 1, NAN_POISON, "cpu")
        before = reference_or_none(kernel_type, mine.buffers, m)
        assert before is not None
        for name, spec in kernel_type.buffers(shape, max_m).items():
            if spec.role == "output" and not spec.accumulated:
                continue
            changes = tuple(_changes(mine, other, name, spec))
            if not changes and spec.affects_results and spec.dtype not in INDEX_TYPES:
                got = "the same value everywhere, for every seed"
                wanted = "values that differ: an order that is wrong is not found otherwise"
                raise RuleViolation(f"{name!r} after fill(buffers, m={m})", got, wanted, location(shape, m))
            kept = mine.regions[name].clone()
            same: list[str] = []
            other_: list[str] = []
            for words, change in changes:
                change()
                (same if _equal(before, reference_or_none(kernel_type, mine.buffers, m)) else other_).append(words)
                mine.regions[name].copy_(kept)
            fault = _judge(name, spec, same, other_, location(shape, m))
            if fault is not None and spec.dtype not in INDEX_TYPES:
                raise fault
            if fault is not None:
                silent[name] = fault
            elif other_:
                counted.add(name)
    for name, fault in silent.items():
        if name not in counted:  # at one shape, other indices may mean the same
            raise fault


def _judge(name: str, spec: BufferSpec, same: list[str], other: list[str], where: str) -> RuleViolation | None:
    """The violation of one buffer at one shape.

    Each change of data must change the results; of indices one is enough, since some may mean the same.
    """
    if not spec.affects_results:
        if other:
            what, wanted = f"reference() with {name!r} {other[0]}", "the same: affects_results = False"
            raise RuleViolation(what, "other results", wanted, where)
        return None
    if same and (spec.dtype not in INDEX_TYPES or not other):
        wanted = "other results: the launch is given this buffer, and a launch that ignores it would agree"
        return RuleViolation(f"reference() with {name!r} {same[0]}", "the same results", wanted, where)
    return None


def _changes(
    mine: Poisoned, other: Poisoned, name: str, spec: BufferSpec
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Other contents for a buffer, each with its name; contents that are the same are left out."""
    region, tensor = mine.regions[name], _bits(mine.buffers.tensors[name])
    if not region.equal(other.regions[name]):
        yield "of another seed", lambda: region.copy_(other.regions[name])
    elif spec.dtype in INDEX_TYPES and bool((tensor > 0).any()):
        yield "smaller by one", lambda: tensor.sub_((tensor > 0).to(tensor.dtype))
        yield "of zeros", lambda: tensor.zero_()
    if not spec.affects_results:
        return
    if spec.dtype not in INDEX_TYPES and tensor.dim() > 1:
        last, replacement = tensor[..., -1], _bits(other.buffers.tensors[name])[..., -1]
        if not last.equal(replacement):
            yield "whose last column is of another seed", lambda: last.copy_(replacement)
    for dim in range(tensor.dim()):
        turned = tensor.flip(dim)
        if not turned.equal(tensor):
            yield f"reversed in dimension {dim}", lambda turned=turned: tensor.copy_(turned)  # type: ignore[misc]


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as integers: not every float type can be reversed."""
    import torch

    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.view(integers[tensor.element_size()]) if tensor.dtype.is_floating_point else tensor


def _equal(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor] | None) -> bool:
    if after is None or set(before) != set(after):
        return False
    return all(each.shape == after[name].shape and _same(each, after[name]) for name, each in before.items())


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(((a == b) | ((a != a) & (b != b))).all())


@rule("KR127", "the reference does not call the function that it judges", needs=("KR122",))
def independent(subject: KernelTypeUnderTest) -> None:
    kernel_type, m = subject.kernel_type, subject.at("tail")
    for shape in subject.every_shape:
        poisoned = filled_buffers(kernel_type, shape, m, m, 0, NAN_POISON, "cpu")
        with subject.applied(shape), _calls_of(_function(kernel_type)) as calls:
            kernel_type.reference(poisoned.buffers, m)
        if calls:
            wanted = "a reference of its own: a function that is wrong agrees with itself"
            raise RuleViolation(
                f"reference(buffers, m={m})", "a call of the kernel type's function", wanted, location(shape, m)
            )


def _function(kernel_type: KernelType) -> Callable[..., Any]:
    try:
        return kernel_type.function()
    except (MissingRequirement, ModuleNotFoundError) as problem:
        raise NotApplicable(f"its function cannot be imported: {problem}") from problem


@contextmanager
def _calls_of(function: Callable[..., Any]) -> Iterator[list[str]]:
    """The events of calls of a function, in a list that fills meanwhile."""
    plain = getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    found: list[str] = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if (event == "call" and code is not None and frame.f_code is code) or (
            event == "c_call" and argument is function
        ):
            found.append(event)

    with watching_calls(watch):
        yield found


@rule("KR129", "buffers that nobody filled hold valid indices", needs=("KR124",))
def unfilled(subject: KernelTypeUnderTest) -> None:
    """Warm-up launches on buffers as they are allocated. The reference reads the same indices as the launch."""
    kernel_type = subject.kernel_type
    for case in ("one", "tail"):
        m = subject.at(case)
        for shape in subject.every_shape:
            for pattern in (NAN_POISON, OTHER_POISON):
                poisoned = poisoned_buffers(kernel_type, shape, m, pattern, "cpu")
                _check_unfilled(kernel_type, poisoned, shape, m, "buffers as allocated")
                for name, spec in kernel_type.buffers(shape, m).items():
                    if spec.dtype in INDEX_TYPES and spec.role != "output":
                        filled = filled_buffers(kernel_type, shape, m, m, 0, NAN_POISON, "cpu")
                        filled.regions[name].copy_(poisoned.regions[name])
                        _check_unfilled(kernel_type, filled, shape, m, f"{name!r} as allocated")
            for name, spec in kernel_type.buffers(shape, m).items():
                if spec.dtype in INDEX_TYPES and spec.role != "output" and spec.affects_results:
                    _check_initial(kernel_type, shape, m, name, spec)
    most = subject.at("largest")
    for shape in subject.every_shape:  # an index that counts up to m may leave a table that has fewer rows
        poisoned = poisoned_buffers(kernel_type, shape, most, NAN_POISON, "cpu")
        _check_unfilled(kernel_type, poisoned, shape, most, "buffers as allocated")


def _check_initial(kernel_type: KernelType, shape: Shape, m: int, name: str, spec: BufferSpec) -> None:
    """Indices and counts need an initial value, no larger than what fill() draws: the reference may take others.

    A launch that reads past the end of a buffer does not.
    """
    import torch

    drawn: list[torch.Tensor] = []
    for seed in range(_SEEDS_OF_INDICES):
        poisoned = poisoned_buffers(kernel_type, shape, m, NAN_POISON, "cpu")
        tensor = poisoned.buffers.tensors[name].fill_(_NEVER_FILLED)
        kernel_type.fill(poisoned.buffers, m, torch.Generator().manual_seed(seed))
        drawn.append(tensor[tensor != _NEVER_FILLED])
    values = torch.cat(drawn)
    if not values.numel() or int(values.min()) < -1 or int(values.max()) > _MOST_INDEX:
        return
    most, where, what = int(values.max()), location(shape, m), f"buffers()[{name!r}].initial"
    seen = f"fill() draws {int(values.min())} to {most}"
    if spec.initial is None and len(spec.shape) == 1 and int(values.min()) < _LEAST_SCALE:
        wanted = f"an integer: {seen}, and warm-up launches with what the memory holds"
        raise RuleViolation(what, "none", wanted, where)
    if isinstance(spec.initial, (int, float)) and spec.initial > max(most, 1):
        raise RuleViolation(what, spec.initial, f"at most {most}: {seen}", where)


def _check_unfilled(kernel_type: KernelType, poisoned: Poisoned, shape: Shape, m: int, words: str) -> None:
    try:
        kernel_type.reference(poisoned.buffers, m)
    except Exception as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        wanted = "no error: an index or count needs an initial value in buffers(), valid for a launch at max_m"
        raise RuleViolation(f"reference({words}, m={m})", got, wanted, location(shape, m)) from error
