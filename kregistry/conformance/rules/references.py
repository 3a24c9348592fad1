"""Rules for random inputs, reference and tolerance, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kregistry.conformance.comparison import difference, disagreement
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, OTHER_POISON
from kregistry.conformance.rule import FULL, RuleViolation, rule
from kregistry.conformance.trial import filled_buffers
from kregistry.kernel_type import Shape

if TYPE_CHECKING:
    import torch

Named = Mapping[str, "torch.Tensor"]


def _reference(subject: KernelTypeUnderTest, shape: Shape, m: int, seed: int, poison: int = NAN_POISON) -> Named:
    """The results of the reference for a seed, in buffers that were filled with a pattern before."""

    def compute() -> Named:
        poisoned = filled_buffers(subject.kernel_type, shape, m, subject.padded_rows(m), seed, poison, "cpu")
        return subject.kernel_type.reference(poisoned.buffers, m)

    return subject.once(("reference", shape, m, seed, poison), compute)


@rule("KR120", "fill() writes every input that counts, from the generator", cases=FULL, needs=("KR113",))
def filled(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape in subject.every_shape:
        first = _reference(subject, shape, m, 0)
        for name, tensor in _reference(subject, shape, m, 0, OTHER_POISON).items():
            if not same_bits(first[name], tensor):
                what = f"reference(buffers, m={m})[{name!r}] after fill() with one seed"
                wanted = "the same results twice: an input is not filled, or not from the generator"
                raise RuleViolation(
                    what, "results that depend on what the buffers held before", wanted, location(shape, m)
                )
        if all(same_bits(first[name], tensor) for name, tensor in _reference(subject, shape, m, 1).items()):
            what = f"reference(buffers, m={m}) after fill() with two seeds"
            raise RuleViolation(what, "equal results", "different inputs for each seed", location(shape, m))


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal, NaN included."""
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | ((a != a) & (b != b))).all())


@rule("KR121", "the reference returns all results, in their sizes", cases=FULL, needs=("KR120",))
def complete(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape in subject.every_shape:
        buffers = filled_buffers(subject.kernel_type, shape, m, m, 0, NAN_POISON, "cpu").buffers
        wanted = subject.kernel_type.reference(buffers, m)
        results = subject.kernel_type.results(buffers, m)
        if not set(results) <= set(wanted) or (set(wanted) != set(results) and not subject.returns_results):
            raise RuleViolation(
                "the names of reference(...)", sorted(wanted), f"{sorted(results)} of results(...)", location(shape, m)
            )
        for name, tensor in results.items():
            if tensor.shape != wanted[name].shape:
                what = f"results(buffers for {m}, m={m})[{name!r}]"
                sizes = f"the {tuple(wanted[name].shape)} of the reference"
                raise RuleViolation(what, tuple(tensor.shape), sizes, location(shape, m))


@rule("KR122", "the reference is finite, repeatable, and does not change its inputs", cases=FULL, needs=("KR121",))
def pure(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape in subject.every_shape:
        poisoned = filled_buffers(subject.kernel_type, shape, m, subject.padded_rows(m), 0, NAN_POISON, "cpu")
        before, first = poisoned.snapshot(), _reference(subject, shape, m, 0)
        second = subject.kernel_type.reference(poisoned.buffers, m)
        changed = [name for name, region in poisoned.snapshot().items() if not region.equal(before[name])]
        what = f"reference(buffers, m={m})"
        if changed:
            raise RuleViolation(what, f"writes to {', '.join(changed)}", "no write", location(shape, m))
        for name, tensor in first.items():
            if not bool(tensor.isfinite().all()):
                raise RuleViolation(f"{what}[{name!r}]", "NaN or infinity", "finite values", location(shape, m))
            if not same_bits(tensor, second[name]):
                raise RuleViolation(f"{what}[{name!r}], called twice", "two results", "the same", location(shape, m))


@rule("KR123", "the tolerance accepts rounding and refuses wrong results", cases=FULL, needs=("KR122",))
def tolerance(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    limit, reason = subject.kernel_type.proof.tolerance, subject.kernel_type.proof.tolerance_reason
    for shape in subject.every_shape:
        results = subject.kernel_type.results(subject.meta_buffers(shape, subject.padded_rows(m)), m)
        for name, tensor in _reference(subject, shape, m, 0).items():
            what = f"tolerance {limit:g} for {name!r}"
            dtype = results[name].dtype if name in results else tensor.dtype
            rounded = disagreement(tensor.to(dtype), tensor, limit)
            if rounded is not None:
                got = f"refuses the reference rounded to {dtype}, {rounded}"
                raise RuleViolation(what, got, "a tolerance that accepts rounding", location(shape, m))
            for words, wrong in wrong_results(tensor, 0.15 if reason else 0.05):
                if disagreement(wrong, tensor, limit) is None:
                    got = f"accepts {words}, a difference of {difference(wrong, tensor):.2g}"
                    raise RuleViolation(what, got, "a tolerance that refuses wrong results", location(shape, m))


def wrong_results(tensor: torch.Tensor, noise: float) -> Iterator[tuple[str, torch.Tensor]]:
    """Wrong results of a launch, each with a name; those that are equal to the right ones apart."""
    yield "zeros", tensor * 0
    yield "twice the reference", tensor * 2
    yield "half the reference", tensor * 0.5
    yield f"the reference with {noise:.0%} of noise", _noisy(tensor, noise)
    if tensor.dim() > 1:
        matrices = tensor.reshape(-1, *tensor.shape[-2:])
        rows, columns = matrices.shape[1:]
        for words, size in (("row", (1, columns)), ("column", (rows, 1)), ("tile of 64 rows and columns", (64, 64))):
            yield f"the reference with a {words} of zeros", _zeroed(matrices, *size).reshape(tensor.shape)


def _zeroed(matrices: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The matrices with one whole block of this size set to zero in each.

    It is the smallest of those not below the average: zeros in place of small values would prove little.
    """
    import torch

    squares = matrices.double().square().mean(0)
    size = min(rows, squares.shape[0]), min(columns, squares.shape[1])
    blocks = torch.nn.functional.avg_pool2d(squares[None], size)[0]
    typical = blocks.where(blocks >= squares.mean(), float("inf"))
    down, right = divmod(int(typical.argmin()), blocks.shape[1])
    changed = matrices.clone()
    changed[:, down * rows : (down + 1) * rows, right * columns : (right + 1) * columns] = 0
    return changed


def _noisy(tensor: torch.Tensor, noise: float) -> torch.Tensor:
    """Each element larger or smaller by this share of it, by a fixed pattern."""
    import torch

    signs = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(0)).sub(0.5).sign()
    return tensor.double() * (1 + noise * signs)
