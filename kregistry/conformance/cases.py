"""Cases: the run-time values that the rules are checked at, by name, so that test ids do not depend on the plugin."""

from __future__ import annotations

from kregistry.kernel_type import KernelType

#: Distance from the first value, in steps. For a step of 1: 1, 17 (no multiple of a block), 64 (a block), 193.
_DENSE = {"one": 0, "tail": 16, "block": 63, "largest": 192}
#: For aligned layouts every value is a whole number of blocks: 1, 2, 3 and 4 of them.
_ALIGNED = {"one": 0, "tail": 1, "block": 2, "largest": 3}


def value_of(kernel_type: KernelType, case: str) -> int:
    """The run-time value of a case; it is one that a range of the kernel type reaches."""
    if case == "empty":
        return 0
    run, start = kernel_type.run_dimension, start_of(kernel_type)
    steps = (_DENSE if run.step == 1 else _ALIGNED)[case]
    value = start + steps * run.step
    stop = kernel_type.proof.stop
    if stop and (case == "largest" or value > stop):
        return start + max(stop - start, 0) // run.step * run.step
    return value


def start_of(kernel_type: KernelType) -> int:
    """The first run-time value that is launched at."""
    return kernel_type.proof.start or kernel_type.run_dimension.start


def sweep_of(kernel_type: KernelType) -> tuple[int, ...]:
    """0, and every value from the first to the largest."""
    run = kernel_type.run_dimension
    return (0, *range(start_of(kernel_type), value_of(kernel_type, "largest") + 1, run.step))
