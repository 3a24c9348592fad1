"""Rule for run-time values between two steps: an engine may launch them too."""

from __future__ import annotations

from collections.abc import Mapping

from kregistry.conformance.cases import start_of, sweep_of
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.large_values import large_values
from kregistry.conformance.rules.stub import probed_shapes
from kregistry.deep_gemm.known_settings import MK_ALIGNMENT
from kregistry.errors import ShapeError
from kregistry.kernel_type import Shape
from kregistry.stub.probed import Probed

#: Pairs of neighbouring values that are looked between.
_PAIRS = 4
#: Large values below this are looked at too.
_LARGE = 16_384


@rule("KR226", "a value between two steps needs no other kernel", needs=("KR205",))
def between_steps(subject: KernelTypeUnderTest) -> None:
    """A range holds every ``step``-th value. DeepGEMM may take the others, with kernels that nobody has planned."""
    run = subject.kernel_type.run_dimension
    if run.step == 1:
        raise NotApplicable("its range holds every value")
    _check_tiles(subject)
    first, swept = start_of(subject.kernel_type), sweep_of(subject.kernel_type)
    lowest = first if _comes_in_tiles(subject) else first - run.step
    near = [m for m in (lowest + i * run.step for i in range(_PAIRS)) if m >= 0 and m + run.step in swept]
    for shape, probed in probed_shapes(subject):
        far = sorted(m for m in large_values(subject.kernel_type, shape) if m < _LARGE)
        ends = tuple(end for m in far for end in (m, m + run.step))
        planned = {**_kernels(probed), **_kernels(subject.probed(shape, ends))}
        values = tuple(sorted({m + more for m in (*near, *far) for more in (1, run.step // 2, run.step - 1)}))
        for m, kernels in _kernels(subject.probed(shape, values)).items():
            below, above = m - (m - first) % run.step, m + (first - m) % run.step
            held = (planned.get(below), planned.get(above), ())
            if kernels in held or not _is_its_call(subject, shape, m):
                continue
            got, there = ", ".join(kernels), ", ".join(planned.get(above, ())) or "no kernel"
            wanted = f"{there}, as at m={above}, or a smaller step: a plan has every {run.step}th value only"
            raise RuleViolation(f"a launch between two steps of {run.step}", got, wanted, location(shape, m))


def _check_tiles(subject: KernelTypeUnderTest) -> None:
    """Rows of contiguous layouts come in tiles of DeepGEMM's mk_alignment: each number of tiles is a value."""
    run = subject.kernel_type.run_dimension
    for tile in _tiles(subject):
        if run.step > tile and run.step % tile == 0:
            wanted = f"{tile}, the default of mk_alignment: engines launch each number of tiles, and a plan has every "
            what = f"{type(subject.kernel_type).__name__}.run_dimension.step"
            raise RuleViolation(what, run.step, f"{wanted}{run.step}th row only")


def _kernels(probed: Probed) -> Mapping[int, tuple[str, ...]]:
    """Run-time value -> kernels of a launch; without the values that DeepGEMM or the kernel type refuses."""
    accepted = [value for value in probed.values if not value.serving.error and not value.refusal]
    return {value.m: tuple(value.serving.kernels) for value in accepted}


def _comes_in_tiles(subject: KernelTypeUnderTest) -> bool:
    """Whether the first value is one tile of DeepGEMM's contiguous layouts: rows of a group come in whole tiles."""
    run = subject.kernel_type.run_dimension
    return run.start == run.step and run.step in _tiles(subject)


def _tiles(subject: KernelTypeUnderTest) -> tuple[int, ...]:
    """Rows of a tile of contiguous layouts, if the kernel type depends on them."""
    defaults = [setting.default for setting in subject.kernel_type.settings if setting.name == MK_ALIGNMENT.name]
    return tuple(each for each in defaults if type(each) is int)


def _is_its_call(subject: KernelTypeUnderTest, shape: Shape, m: int) -> bool:
    """Whether the kernel type reads such a call as its own; another one may plan it."""
    call = subject.kernel_type.arguments(subject.meta_buffers(shape, m), m)
    try:
        if subject.kernel_type.read_m(*call.args, **call.kwargs) != m:
            return False
        subject.kernel_type.read_shape(*call.args, **call.kwargs)
    except ShapeError:
        return False
    return True
