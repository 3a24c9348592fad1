"""Rules for launches on a real device: a GPU, or the CPU for kernel types whose launch function works there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kregistry.conformance.comparison import disagreement
from kregistry.conformance.compile_ahead import compile_ahead
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, OTHER_POISON
from kregistry.conformance.rule import FULL, NotApplicable, RuleViolation, rule
from kregistry.conformance.trial import Trial, filled_buffers, reference_of
from kregistry.kernel_type import Buffers, Shape

if TYPE_CHECKING:
    import torch

#: Seeds of the random inputs, one launch each.
_SEEDS = (0, 1, 2)


def device_shapes(subject: KernelTypeUnderTest) -> tuple[Shape, ...]:
    """The example shapes for the device, after their kernels were compiled."""
    gpu = subject.machine.gpu if subject.device == "cuda" else None
    if gpu is not None and gpu.arch not in {target.arch for target in subject.targets}:
        raise NotApplicable(f"it does not declare {gpu.arch}, the GPU of this machine")
    if not subject.device_shapes:
        raise NotApplicable("no example shape is for this device")
    compile_ahead(subject)
    return subject.device_shapes


def _trials(subject: KernelTypeUnderTest, case: str, seeds: tuple[int, ...] = (0,)) -> Iterator[tuple[Shape, Trial]]:
    for shape in device_shapes(subject):
        for seed in seeds:
            yield shape, subject.trial(shape, subject.at(case), seed, NAN_POISON)


@rule("KR302", "every element of the outputs is written", cases=FULL, needs=("KR113",), on_device=True)
def written(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape, first in _trials(subject, case):
        second = subject.trial(shape, m, 0, OTHER_POISON)
        for name, inside in first.outputs.items():
            kept = (first.before[name] == first.after[name]) & (second.before[name] == second.after[name])
            unwritten = int((inside & kept & (first.before[name] != second.before[name])).sum())
            if unwritten:
                got = f"{unwritten} of {int(inside.sum())} elements still hold what was there before"
                raise RuleViolation(f"the output {name!r} after a launch", got, "all written", location(shape, m))


@rule("KR303", "nothing else is written", cases=FULL, needs=("KR113",), on_device=True)
def canaries(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape, trial in _trials(subject, case):
        roles = {name: spec.role for name, spec in subject.kernel_type.buffers(shape, subject.padded_rows(m)).items()}
        if trial.broken_guards:
            wanted = "no write before or after a buffer"
            raise RuleViolation(
                "a launch", f"writes outside {', '.join(trial.broken_guards)}", wanted, location(shape, m)
            )
        for name, inside in trial.writable.items():
            spoiled = int(((trial.before[name] != trial.after[name]) & ~inside).sum())
            if spoiled and roles[name] == "output":
                got = f"writes {spoiled} elements of {name!r} outside of what belongs to m={m}"
                raise RuleViolation("a launch", got, "writes to outputs(buffers, m) only", location(shape, m))


@rule("KR304", "inputs are not changed", cases=FULL, needs=("KR113",), on_device=True)
def inputs_kept(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    for shape, trial in _trials(subject, case):
        roles = {name: spec.role for name, spec in subject.kernel_type.buffers(shape, subject.padded_rows(m)).items()}
        for name, inside in trial.writable.items():
            spoiled = int(((trial.before[name] != trial.after[name]) & ~inside).sum())
            if spoiled and roles[name] != "output":
                got = f"changes {spoiled} elements of the {roles[name]} {name!r}"
                raise RuleViolation("a launch", got, "no change of inputs and weights", location(shape, m))


@rule("KR301", "results agree with the reference", cases=FULL, needs=("KR123", "KR302"), on_device=True)
def agreement(subject: KernelTypeUnderTest, case: str) -> None:
    m = subject.at(case)
    limit = subject.kernel_type.proof.tolerance
    for shape, trial in _trials(subject, case, _SEEDS):
        compare_results(trial.got, trial.wanted, limit, location(shape, m))


def filled_with_reference(
    subject: KernelTypeUnderTest, shape: Shape, m: int, seed: int
) -> tuple[Buffers, Mapping[str, torch.Tensor]]:
    """Filled buffers, with the results of the reference."""
    kernel_type, rows = subject.kernel_type, subject.padded_rows(m)
    buffers = filled_buffers(kernel_type, shape, m, rows, seed, NAN_POISON, subject.device).buffers
    return buffers, reference_of(kernel_type, buffers, m)


def compare_results(
    got: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], tolerance: float, where: str, what: str = ""
) -> None:
    """Raise if results differ from the reference in name, size or value; ``what`` says of which launch they are."""
    if set(got) != set(wanted):
        raise RuleViolation(f"the names of the results{what}", sorted(got), sorted(wanted), where)
    for name, expected in wanted.items():
        if got[name].shape != expected.shape:
            sizes = f"the {tuple(expected.shape)} of the reference"
            raise RuleViolation(f"the result {name!r}{what}", tuple(got[name].shape), sizes, where)
        unknown = int((got[name].isnan() & ~expected.isnan()).sum())
        if unknown:
            text = f"NaN in {unknown} of {expected.numel()} numbers, as of memory that nobody has written"
            raise RuleViolation(f"the result {name!r}{what}", text, "numbers, as in the reference", where)
        found = disagreement(got[name], expected, tolerance)
        if found is not None:
            raise RuleViolation(
                f"the result {name!r}{what}", f"{found} from the reference", f"at most {found.limit:g}", where
            )


@rule("KR305", "the same inputs give the same bits", cases=FULL, needs=("KR301",), on_device=True)
def deterministic(subject: KernelTypeUnderTest, case: str) -> None:
    if not subject.kernel_type.proof.deterministic:
        raise NotApplicable("it is declared as not deterministic")
    m = subject.at(case)
    for shape, first in _trials(subject, case):
        second = subject.trial(shape, m, 0, OTHER_POISON)
        for name, result in first.got.items():
            different = int((result != second.got[name]).sum())
            if different:
                got = f"{different} elements differ between two launches"
                raise RuleViolation(
                    f"the result {name!r}", got, "the same bits, or deterministic = False", location(shape, m)
                )
