"""Rule for the empty input."""

from __future__ import annotations

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, poisoned_buffers
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.calls import recorder_of
from kregistry.kernel_type import EmptyInput


@rule("KR116", "an empty input does what is declared", needs=("KR113", "KR114"))
def empty_input(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    rule_ = kernel_type.empty_input
    for shape in subject.every_shape:
        recorder, calls = recorder_of(kernel_type)
        poisoned = poisoned_buffers(kernel_type, shape, kernel_type.run_dimension.start, NAN_POISON, "cpu")
        before = poisoned.snapshot()
        call = kernel_type.arguments(poisoned.buffers, 0)
        what = f"launch(*arguments(buffers, 0)) with empty_input = {rule_.name}"
        try:
            recorder.launch(*call.args, **call.kwargs)
        except Exception as error:
            raise RuleViolation(what, f"{type(error).__name__}: {error}", "no error", location(shape, 0)) from error
        launched = len(calls)
        if (launched > 0) != (rule_ is EmptyInput.LAUNCH):
            wanted = "one" if rule_ is EmptyInput.LAUNCH else "none"
            raise RuleViolation(what, f"{launched} launches", wanted, location(shape, 0))
        if rule_ is EmptyInput.ZERO_OUTPUTS:
            for name, output in kernel_type.outputs(poisoned.buffers, 0).items():
                if bool((output != 0).any()):
                    raise RuleViolation(f"outputs[{name!r}] after {what}", "other values", "zeros", location(shape, 0))
        else:
            changed = [name for name, region in poisoned.snapshot().items() if not region.equal(before[name])]
            if changed:
                raise RuleViolation(what, f"writes to {', '.join(changed)}", "no write", location(shape, 0))
