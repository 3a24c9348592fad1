"""Cases: named run-time values at which rules are checked. Test ids use the names, for all plugins alike."""

from __future__ import annotations

from kregistry.kernel_type import KernelType

#: Distance from the first value, in steps. For step 1 the values are 1, 17 (not a multiple of a block), 64 (a
#: block) and 193.
_DENSE = {"one": 0, "tail": 16, "block": 63, "largest": 192}
#: The same for aligned layouts, where every value is a whole number of blocks: 1, 2, 3 and 4.
_ALIGNED = {"one": 0, "tail": 1, "block": 2, "largest": 3}


def value_of(kernel_type: KernelType, case: str) -> int:
    """The run-time value of a case. A range of the kernel type can reach it."""
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
    """The smallest run-time value above 0 to launch."""
    return kernel_type.proof.start or kernel_type.run_dimension.start


def sweep_of(kernel_type: KernelType) -> tuple[int, ...]:
    """The run-time values 0 and every value from the first to the largest."""
    run = kernel_type.run_dimension
    return (0, *range(start_of(kernel_type), value_of(kernel_type, "largest") + 1, run.step))
