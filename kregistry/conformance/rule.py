"""Rule: an id, a level, the cases at which it is checked, and a function that finds a violation."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import field, frozen


class Level(enum.IntEnum):
    """The equipment that a rule needs; a level includes the levels before it."""

    #: CPU torch.
    ANYWHERE = 1
    #: CUDA torch, DeepGEMM, a CUDA and a C compiler; no GPU.
    STUB = 2
    #: A GPU, and DeepGEMM on it.
    GPU = 3

    def __str__(self) -> str:
        return self.name.lower()


#: Names of run-time values; see :func:`kregistry.conformance.cases.value_of`.
CASES = ("empty", "one", "tail", "block", "largest")
#: The cases with a non-empty input.
FULL = CASES[1:]


class RuleViolation(Exception):
    """A kernel type breaks a rule.

    Args:
        what: what was checked.
        got: what was found.
        wanted: what was expected.
        where: the shape and run-time value.
    """

    def __init__(self, what: str, got: object, wanted: object, where: object = "") -> None:
        place = f" ({where})" if str(where) else ""
        super().__init__(f"{what}: got {got}, expected {wanted}{place}")


class NotApplicable(Exception):
    """The rule does not apply to this kernel type on this machine; the reason is shown."""


class NotProved(NotApplicable):
    """The kernel type opts out of what the rule checks: counted in the report, and a failure under ``--require``."""


@frozen
class Rule:
    """One rule.

    Attributes:
        id: ``KR103``; the first digit is the level.
        title: the requirement as a short phrase.
        check: the function; it takes a ``KernelTypeUnderTest``, and a case if the rule has cases.
        cases: names of the cases; if empty, the rule is checked once.
        needs: ids of rules that must hold before this rule is checked.
        on_device: whether the rule launches on a real device: a GPU, or a CPU for kernel types that work there.
    """

    id: str
    title: str
    check: Callable[..., None] = field(repr=False, eq=False)
    cases: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    on_device: bool = False

    @property
    def level(self) -> Level:
        return Level(int(self.id[2]))

    def checks(self) -> tuple[Check, ...]:
        return tuple(Check(self, case) for case in self.cases) or (Check(self, ""),)


@frozen
class Check:
    """A rule at one case."""

    rule: Rule
    case: str

    @property
    def id(self) -> str:
        """``KR103-tail``, or ``KR101`` for a rule without cases."""
        return f"{self.rule.id}-{self.case}" if self.case else self.rule.id


_RULES: dict[str, Rule] = {}
_F = TypeVar("_F", bound=Callable[..., Any])


def rule(
    id: str, title: str, *, cases: tuple[str, ...] = (), needs: tuple[str, ...] = (), on_device: bool = False
) -> Callable[[_F], _F]:
    """Register a function as the check of a rule; it raises :class:`RuleViolation` or :class:`NotApplicable`."""

    def register(check: _F) -> _F:
        if id in _RULES:
            raise ValueError(f"two rules are called {id}")
        _RULES[id] = Rule(id, title, check, cases, needs, on_device)
        return check

    return register


def registered() -> dict[str, Rule]:
    """The rules of the modules imported so far, by id."""
    return dict(sorted(_RULES.items()))
