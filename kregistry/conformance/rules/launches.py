"""Rule for the empty input."""

from __future__ import annotations

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, Poisoned, elements, poisoned_buffers
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.calls import recorder_of
from kregistry.kernel_type import EmptyInput, KernelType, Shape


@rule("KR116", "an empty input does what is declared", needs=("KR113", "KR114"))
def empty_input(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    rule_ = kernel_type.empty_input
    for shape in subject.every_shape:
        recorder, calls = recorder_of(kernel_type)
        poisoned = poisoned_buffers(kernel_type, shape, kernel_type.run_dimension.start, NAN_POISON, "cpu")
        before = poisoned.snapshot()
        places = {name: tensor.data_ptr() for name, tensor in poisoned.buffers.tensors.items()}
        call = kernel_type.arguments(poisoned.buffers, 0)
        what = f"launch(*arguments(buffers, 0)) with empty_input = {rule_.name}"
        try:
            recorder.launch(*call.args, **call.kwargs)
        except Exception as error:
            raise RuleViolation(what, f"{type(error).__name__}: {error}", "no error", location(shape, 0)) from error
        moved = [name for name, tensor in poisoned.buffers.tensors.items() if tensor.data_ptr() != places[name]]
        if moved:
            got, wanted = f"gives {', '.join(moved)} other memory", "writes to the memory that it is given"
            raise RuleViolation(what, got, wanted, location(shape, 0))
        launched = len(calls)
        if (launched > 0) != (rule_ is EmptyInput.LAUNCH):
            wanted = "one" if rule_ is EmptyInput.LAUNCH else "none"
            raise RuleViolation(what, f"{launched} launches", wanted, location(shape, 0))
        _check_outputs_of_none(kernel_type, poisoned, shape)
        if rule_ is EmptyInput.ZERO_OUTPUTS:
            for name, output in kernel_type.outputs(poisoned.buffers, 0).items():
                if bool((output != 0).any()):
                    raise RuleViolation(f"outputs[{name!r}] after {what}", "other values", "zeros", location(shape, 0))
        else:
            changed = [name for name, region in poisoned.snapshot().items() if not region.equal(before[name])]
            if changed:
                raise RuleViolation(what, f"writes to {', '.join(changed)}", "no write", location(shape, 0))


def _check_outputs_of_none(kernel_type: KernelType, poisoned: Poisoned, shape: Shape) -> None:
    """An output that does not shrink with the input holds a sum: of nothing, it is zero or what it was added to."""
    rule_, specs = kernel_type.empty_input, kernel_type.buffers(shape, poisoned.buffers.max_m)
    rewritten = elements(kernel_type, poisoned, lambda buffers: kernel_type.outputs(buffers, 0))
    held = [name for name, inside in rewritten.items() if bool(inside.any()) and not specs[name].accumulated]
    what = f"outputs(buffers, 0) with empty_input = {rule_.name}"
    if rule_ is EmptyInput.ZERO_OUTPUTS and not held:
        raise RuleViolation(what, "no element", "what is set to zero; RETURN if that is nothing", location(shape, 0))
    if rule_ is EmptyInput.RETURN and held:
        wanted = "ZERO_OUTPUTS, LAUNCH, or accumulated buffers: they would keep the results of the last call"
        raise RuleViolation(what, f"elements of {', '.join(held)}", wanted, location(shape, 0))
