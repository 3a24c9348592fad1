"""More rules for launches on the stub GPU: signature, work, choices, large values, and what calls return and change."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from kregistry.conformance.cases import start_of
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.random_shapes import choices_of
from kregistry.conformance.rule import NotApplicable, NotProved, RuleViolation, rule
from kregistry.conformance.rules.large_values import large_values
from kregistry.conformance.rules.repeated import same_form
from kregistry.conformance.rules.stub import check_overstated, explained, probed_shapes
from kregistry.errors import ShapeError
from kregistry.kernel_type import EmptyInput, KernelType, Shape
from kregistry.stub.probed import Probed, ProbedValue

_CATCH_ALL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@rule("KR220", "its signature is that of the function", needs=("KR201",))
def signature(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    next(probed_shapes(subject))
    try:
        actual = inspect.signature(kernel_type.function()).parameters
    except Exception as problem:  # what function() raises, KR201 finds
        raise NotApplicable(f"the parameters of its function are not known: {problem}") from problem
    if {each.kind for each in actual.values()} <= set(_CATCH_ALL):
        raise NotApplicable("its function takes any parameters")
    what, order = f"{type(kernel_type).__name__}.signature", list(actual)
    declarations = kernel_type.signature.parameters.parameters.values()
    takes_others = any(each.kind is each.VAR_KEYWORD for each in declarations)
    for position, declared in enumerate(declarations):
        if declared.kind in _CATCH_ALL:
            continue
        found = actual.get(declared.name)
        if found is None and declared.default is not declared.empty and (takes_others or position >= len(order)):
            continue  # another version of DeepGEMM has it
        if found is None:
            raise RuleViolation(what, f"the parameter {declared.name!r}", f"one of {', '.join(order)}")
        if declared.kind is declared.POSITIONAL_OR_KEYWORD and order.index(declared.name) != position:
            wanted = f"at position {order.index(declared.name)}, as in the function"
            raise RuleViolation(what, f"{declared.name!r} at position {position}", wanted)


@rule("KR221", "a launch has work for the GPU", needs=("KR201",))
def works(subject: KernelTypeUnderTest) -> None:
    next(probed_shapes(subject))
    if subject.returns_results:
        raise NotApplicable("it returns its result, which may be an argument as it is")
    for shape, value in _values(subject):
        for words, launch in (("execute(buffers, m)", value.warm_up), ("launch(*arguments)", value.serving)):
            if value.m and not launch.kernels and not launch.cublaslt_calls:
                wanted = "at least one: nothing else can write the outputs"
                raise RuleViolation(words, "no kernel of DeepGEMM", wanted, location(shape, value.m))


@rule("KR222", "DeepGEMM accepts every choice, within the declared workspace", needs=("KR203", "KR209"))
def choices(subject: KernelTypeUnderTest) -> None:
    """Each word, flag and policy of each dimension, with the other dimensions of each example."""
    kernel_type = subject.kernel_type
    values = tuple(sorted({subject.at(case) for case in ("one", "tail", "largest")}))
    for shape, _ in probed_shapes(subject):
        for dimension in kernel_type.dimensions:
            for choice in choices_of(dimension):
                if choice == shape[dimension.name]:
                    continue
                try:
                    varied = kernel_type.resolve({**shape, dimension.name: choice}, shape.target)
                except ShapeError:
                    continue
                probed = subject.probed(varied, values)
                error = _first_error(probed)
                if error and "this DeepGEMM" not in error and "needs DeepGEMM" not in error:
                    wanted = f"a launch, since {dimension.name} may be {dimension.expectation()}"
                    raise RuleViolation(f"{dimension.name}={choice}", explained(error), wanted, location(varied))
                for value in probed.values if not error else ():
                    _check_workspace(kernel_type, varied, value)


def _check_workspace(kernel_type: KernelType, shape: Shape, value: ProbedValue) -> None:
    declared, used = kernel_type.workspace_requirement(shape, value.m), value.warm_up.nbytes
    if used > declared:
        what, wanted = f"workspace_requirement(shape, max_m={value.m})", f"at least the {used} allocated"
        raise RuleViolation(what, f"{declared} bytes", wanted, location(shape, value.m))


@rule("KR223", "DeepGEMM accepts large run-time values, within the declared workspace", needs=("KR209", "KR132"))
def large(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    for shape, _ in probed_shapes(subject):
        values = tuple(sorted(large_values(kernel_type, shape)))[:3]
        _check_largest(subject, shape)
        probed = subject.probed(shape, values)
        if probed.error:
            raise RuleViolation(f"launches at {values}", probed.error, "launches", location(shape))
        for value in probed.values:
            if value.refusal:
                raise NotProved(f"refusal() refuses {value.m}: {value.refusal}")
            for words, launch in (("execute(buffers, m)", value.warm_up), ("launch(*arguments)", value.serving)):
                if launch.error:
                    raise RuleViolation(words, explained(launch.error), "a launch", location(shape, value.m))
            _check_workspace(kernel_type, shape, value)
            check_overstated(kernel_type.workspace_requirement(shape, value.m), value.warm_up.nbytes, shape, value.m)


def _check_largest(subject: KernelTypeUnderTest, shape: Shape) -> None:
    """A limit that the kernel type claims must be one of DeepGEMM."""
    kernel_type = subject.kernel_type
    most = kernel_type.largest_m(shape)
    if most is None:
        return
    run = kernel_type.run_dimension
    beyond = start_of(kernel_type) + ((most - start_of(kernel_type)) // run.step + 1) * run.step
    if not _first_error(subject.probed(shape, (beyond,))):
        raise RuleViolation("largest_m(shape)", most, f"a larger one: DeepGEMM takes {beyond}", location(shape, beyond))


@rule("KR224", "an empty call returns what a launch returns, without rows", needs=("KR204",))
def empty_result(subject: KernelTypeUnderTest) -> None:
    next(probed_shapes(subject))
    if subject.kernel_type.empty_input is EmptyInput.LAUNCH:
        raise NotApplicable("it launches the empty input")
    for shape, probed in probed_shapes(subject):
        by_value = {value.m: value for value in probed.values}
        one, other = by_value[subject.at("one")].warm_up.result, by_value[subject.at("largest")].warm_up.result
        if 0 not in by_value:
            continue
        for words, launch in (("launch()", by_value[0].serving), ("the sealed call", by_value[0].sealed)):
            if not same_form(launch.result, one, other):
                what = f"what {words} returns for an empty input"
                wanted = f"the form of a launch: {one} at {subject.at('one')}, {other} at {subject.at('largest')}"
                raise RuleViolation(what, launch.result, wanted, location(shape, 0))


@rule("KR225", "launches on the stub GPU leave the process as it is", needs=("KR201",))
def process_kept(subject: KernelTypeUnderTest) -> None:
    for shape, probed in probed_shapes(subject):
        if probed.changed:
            got = f"change {', '.join(probed.changed)}"
            raise RuleViolation("launches on the stub GPU", got, "no change that stays", location(shape))
        for value in probed.values:
            if value.stream.device_calls:
                got = f"calls torch.cuda.set_device() {value.stream.device_calls} times"
                wanted = "the device of its caller: with torch.cuda.device(...) goes back to it"
                raise RuleViolation("execute(buffers, m)", got, wanted, location(shape, value.m))


def _values(subject: KernelTypeUnderTest) -> Iterator[tuple[Shape, ProbedValue]]:
    for shape, probed in probed_shapes(subject):
        for value in probed.values:
            yield shape, value


def _first_error(probed: Probed) -> str:
    return probed.error or next((value.warm_up.error for value in probed.values if value.warm_up.error), "")
