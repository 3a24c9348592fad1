"""Rules for launches of DeepGEMM's host code on the stub GPU. They need no GPU, and check no data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import FULL, NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.large_shapes import larger_shapes
from kregistry.errors import ShapeError
from kregistry.kernel_type import Dimension, EmptyInput, Shape, Size
from kregistry.stub.probed import Probed, ProbedValue


def probed_shapes(subject: KernelTypeUnderTest) -> Iterator[tuple[Shape, Probed]]:
    """Each example shape with its launches on the stub GPU."""
    if "cuda" not in subject.kernel_type.proof.devices:
        raise NotApplicable("it does not run on CUDA devices")
    if not subject.targets:
        raise NotApplicable(f"no arch is claimed for DeepGEMM {subject.machine.deep_gemm_version}")
    for shape in subject.every_shape:
        yield shape, subject.probed(shape)


def _values(subject: KernelTypeUnderTest) -> Iterator[tuple[Shape, ProbedValue]]:
    for shape, probed in probed_shapes(subject):
        for value in probed.values:
            yield shape, value


def explained(error: str) -> str:
    """An error of a launch; one of the driver in words, since its name says nothing."""
    if "CUDA_ERROR_STUB" not in error:
        return error
    words = "the launch failed on the stub GPU, as on a GPU: a size or stride of a tensor map, or a grid, is not valid"
    return f"{words} ({error})"


@rule("KR202", "no launch reads device memory on the host", needs=("KR102", "KR113"))
def host_reads(subject: KernelTypeUnderTest) -> None:
    declared = subject.kernel_type.reads_device_memory
    seen = 0
    for shape, probed in probed_shapes(subject):
        if "touches device memory on the host" in probed.error:
            raise RuleViolation(
                "launches on the stub GPU", probed.error, "no access of the host to tensors", location(shape)
            )
        for value in probed.values:
            reads = max((launch.host_reads for launch in value.launches), default=0)
            seen += reads
            if reads and not declared:
                wanted = "none, or reads_device_memory = True: a plan does not know the data"
                raise RuleViolation(
                    "one launch", f"{reads} copies from the device to the host", wanted, location(shape, value.m)
                )
    if declared and not seen:
        raise RuleViolation("reads_device_memory", "True, but no launch reads any", "False")


@rule("KR201", "DeepGEMM accepts every launch in the declared range", needs=("KR202", "KR112"))
def accepted(subject: KernelTypeUnderTest) -> None:
    for shape, probed in probed_shapes(subject):
        if probed.error:
            raise RuleViolation("launches on the stub GPU", probed.error, "launches", location(shape))
        for value in probed.values:
            if value.m == 0:
                continue
            if value.refusal:
                raise RuleViolation(
                    f"refusal(shape, {value.m})", value.refusal, "a launch: it is in the range", location(shape)
                )
            for name, launch in (("execute(buffers, m)", value.warm_up), ("launch(*arguments)", value.serving)):
                if launch.error:
                    raise RuleViolation(name, explained(launch.error), "a launch", location(shape, value.m))


@rule("KR203", "DeepGEMM accepts every value that the dimensions allow", needs=("KR201", "KR107"))
def granularity(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    values = (subject.at("one"), subject.at("tail"))
    for shape, _ in probed_shapes(subject):
        for dimension in kernel_type.all_dimensions:
            number = shape[dimension.name]
            if not isinstance(dimension, Size) or type(number) is not int:
                continue
            grain = dimension.multiple_of
            least = -(-dimension.minimum // grain) * grain
            odd = (number // grain + 1 | 1) * grain  # a multiple of the grain, but of no larger power of two
            for other in (least, odd):
                try:
                    varied = kernel_type.resolve({**shape, dimension.name: other}, shape.target)
                except ShapeError:
                    continue
                probed = subject.probed(varied, values)
                error = probed.error or next((v.warm_up.error for v in probed.values if v.warm_up.error), "")
                if error:
                    wanted = f"a launch, since {dimension.name} may be {dimension.expectation()}"
                    raise RuleViolation(f"{dimension.name}={other}", explained(error), wanted, location(varied))


@rule("KR204", "an empty input launches only if that is declared", needs=("KR201", "KR116"))
def empty(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    declared = f"empty_input = {kernel_type.empty_input.name}"
    own = (
        f"{declared}, handles_empty = {kernel_type.handles_empty!r}, raises_on_empty = {kernel_type.raises_on_empty!r}"
    )
    for shape, value in _values(subject):
        if value.m:
            continue
        launches = (
            ("a launch of an empty input", declared, value.warm_up),
            ("a launch of an empty input", declared, value.serving),
            ("a sealed call of an empty input", own, value.sealed),
        )
        for what, words, launch in launches:
            if launch.error:
                raise RuleViolation(f"{what} with {words}", explained(launch.error), "no error", location(shape, 0))
            if launch.kernels and kernel_type.empty_input is not EmptyInput.LAUNCH:
                raise RuleViolation(
                    f"{what} with {words}", f"{len(launch.kernels)} kernels", "none", location(shape, 0)
                )


@rule("KR205", "warm-up loads the kernels that serving uses", needs=("KR201", "KR117"))
def same_kernels(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    for shape, value in _values(subject):
        wanted = ", ".join(value.serving.kernels) or "no kernel"
        for words, launch in (("buffers", value.warm_up), ("larger buffers", value.stream)):
            if launch.kernels != value.serving.kernels:
                got, uses = ", ".join(launch.kernels) or "no kernel", f"{wanted}, as launch(*arguments) uses"
                raise RuleViolation(f"execute({words}, m)", got, uses, location(shape, value.m))
        if value.m and kernel_type.passes_on != "none" and value.sealed.kernels != value.serving.kernels:
            got = value.sealed.error or ", ".join(value.sealed.kernels) or "no kernel"
            what = f"a sealed call with passes_on = {kernel_type.passes_on!r}"
            raise RuleViolation(what, got, f"{wanted}, as launch(*arguments) uses", location(shape, value.m))


#: Factor from the sizes of an example to those of a model.
_LARGER = 32


@rule("KR206", "kernels depend only on the declared dimensions and settings", needs=("KR201",))
def kernel_choice(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    sizes = [dimension for dimension in kernel_type.dimensions if not dimension.affects_kernel]
    if kernel_type.proof.kernel_depends_on_m and not sizes:
        raise NotApplicable("it declares that kernels depend on m and on every dimension")
    if not kernel_type.proof.kernel_depends_on_m:
        _check_values(subject, probed_shapes(subject))
        _check_values(subject, _of_larger_shapes(subject))
    for dimension in sizes:
        _check_sizes(subject, dimension)


def _of_larger_shapes(subject: KernelTypeUnderTest) -> Iterator[tuple[Shape, Probed]]:
    """Launches with the sizes of a model: for small ones, one kernel may do at all values."""
    values = tuple(subject.at(case) for case in FULL)
    for shape, _ in probed_shapes(subject):
        for larger in dict.fromkeys(larger_shapes(subject.kernel_type, shape, (_LARGER,))):
            yield larger, subject.probed(larger, values)


def _check_values(subject: KernelTypeUnderTest, launches: Iterable[tuple[Shape, Probed]]) -> None:
    kernel_type = subject.kernel_type
    for shape, probed in launches:
        seen: dict[tuple[object, ...], ProbedValue] = {}
        for value in probed.values:
            if value.m == 0 or value.warm_up.error:
                continue
            policies = tuple(shape.at(each, value.m) for each in kernel_type.all_dimensions if each.policies)
            first = seen.setdefault(policies, value)
            if value.warm_up.kernels != first.warm_up.kernels:
                got, wanted = ", ".join(value.warm_up.kernels), ", ".join(first.warm_up.kernels)
                raise RuleViolation(
                    "kernel_depends_on_m = False", got, f"{wanted}, as at m={first.m}", location(shape, value.m)
                )


def _check_sizes(subject: KernelTypeUnderTest, dimension: Dimension) -> None:
    """Try four times the size of the example, at a few values."""
    values = tuple(subject.at(case) for case in FULL)
    for shape, probed in probed_shapes(subject):
        number = shape[dimension.name]
        assert type(number) is int
        larger = subject.kernel_type.resolve({**shape, dimension.name: 4 * number}, shape.target)
        for value in subject.probed(larger, values).values:
            first = next(each for each in probed.values if each.m == value.m)
            if value.warm_up.kernels != first.warm_up.kernels:
                what = f"{dimension.name}={4 * number} with affects_kernel = False"
                got, wanted = ", ".join(value.warm_up.kernels), ", ".join(first.warm_up.kernels)
                raise RuleViolation(what, got, f"{wanted}, as with {number}", location(shape, value.m))


@rule("KR207", "no launch waits for the device", needs=("KR201",))
def host_waits(subject: KernelTypeUnderTest) -> None:
    for shape, value in _values(subject):
        for launch in value.launches:
            if launch.host_waits and not launch.host_reads:
                wanted = "none: a synchronisation stalls the server and breaks a graph capture"
                raise RuleViolation(
                    "one launch", f"{launch.host_waits} synchronisations", wanted, location(shape, value.m)
                )


@rule("KR208", "launches go to the current stream", needs=("KR201",))
def current_stream(subject: KernelTypeUnderTest) -> None:
    for shape, value in _values(subject):
        if value.stream.error:
            raise RuleViolation("a launch on another stream", value.stream.error, "a launch", location(shape, value.m))
        if value.stream.foreign_launches:
            got = f"{value.stream.foreign_launches} launches on another one"
            raise RuleViolation("under torch.cuda.stream(s)", got, "all on s", location(shape, value.m))


#: Workspace that may be declared whatever a launch allocates, and how many times as much as it allocates.
_FREE_WORKSPACE, _MOST_OVERSTATED = 32 << 20, 8


@rule("KR209", "a launch allocates the declared workspace, and no more", needs=("KR201",))
def workspace(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    for shape, probed in probed_shapes(subject):
        for value in probed.values:
            m, used = value.m, value.warm_up.nbytes
            declared = kernel_type.workspace_requirement(shape, m) if m else 0
            what = f"workspace_requirement(shape, max_m={m})"
            if m and used > declared:
                raise RuleViolation(what, f"{declared} bytes", f"at least the {used} allocated", location(shape, m))
            check_overstated(declared, used, shape, m)


def check_overstated(declared: int, used: int, shape: Shape, m: int) -> None:
    """Refuse a declared workspace far beyond what a launch allocates."""
    if declared > max(_FREE_WORKSPACE, _MOST_OVERSTATED * used):
        wanted = f"about the {used} allocated: warm-up leaves out kernels whose memory does not fit"
        raise RuleViolation(f"workspace_requirement(shape, max_m={m})", f"{declared} bytes", wanted, location(shape, m))
