"""All of the second set, with the survivors."""

from __future__ import annotations

from independent import right, wrong_calls, wrong_memory, wrong_numbers, wrong_oracles
from kregistry.kernel_type import KernelType

#: The kernel types that the others change in one place.
RIGHT: tuple[type[KernelType], ...] = right.RIGHT

_MODULES = (wrong_numbers, wrong_memory, wrong_oracles, wrong_calls)
MUTANTS: dict[str, type[KernelType]] = {each.__name__: each for module in _MODULES for each in module.MUTANTS}

#: Name -> why no kit can tell.
SURVIVORS = {
    "NegativeScales": "scale factors that are always positive have no sign that matters",
    "ZeroRows": "the NaN of 0 / 0 becomes 0 as an int8 on a CPU, which is right",
    "ScalesPowersOfTwo": "an author may promise powers of two only: SM100 takes no others",
    "ManySteps": "an author may promise less than the function takes",
}
#: Mutants that are not killed, and not passed either: ``kregistry conformance --require`` fails.
NOT_PROVED = ("ForeverCollective", "RefusesMost")
