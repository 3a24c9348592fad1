"""All sets of mutants of the conformance kit, with the kernel types that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import mutants
import wrong_at_the_edges
import wrong_on_the_stub
import wrong_plans
from attrs import frozen
from independent import right, wrong_calls, wrong_memory, wrong_numbers, wrong_oracles

from kregistry.kernel_type import KernelType


@frozen
class MutantSet:
    """One set of wrong kernel types.

    Attributes:
        heading: of its part of docs/conformance-mutants.md.
        right: the kernel types that the mutants change in one place each.
        mutants: by name.
        survivors: name of a mutant -> why no kit can tell.
    """

    heading: str
    right: tuple[type[KernelType], ...]
    mutants: Mapping[str, type[KernelType]]
    survivors: Mapping[str, str]


def _of(*modules: ModuleType) -> dict[str, Any]:
    found = {each.__name__: each for module in modules for each in module.MUTANTS}
    assert len(found) == sum(len(module.MUTANTS) for module in modules)
    return found


FIRST = MutantSet("The mutants of the conformance kit", mutants.RIGHT, mutants.MUTANTS, mutants.SURVIVORS)
SECOND = MutantSet(
    "A second set",
    right.RIGHT,
    _of(wrong_numbers, wrong_memory, wrong_oracles, wrong_calls),
    {
        "NegativeScales": "scale factors that are always positive have no sign that matters",
        "ScalesPowersOfTwo": "an author may promise powers of two only: SM100 takes no others",
        "ManySteps": "an author may promise less than the function takes",
    },
)
THIRD = MutantSet(
    "A third set",
    wrong_at_the_edges.RIGHT,
    _of(wrong_at_the_edges, wrong_on_the_stub),
    {**wrong_at_the_edges.SURVIVORS, **wrong_on_the_stub.SURVIVORS},
)
FOURTH = MutantSet("A fourth set", wrong_plans.RIGHT, _of(wrong_plans), {})
