"""Rules: an id, a level, the cases that it is checked at, and a function that finds a breach."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import field, frozen


class Level(enum.IntEnum):
    """What a machine must have for a rule; a level includes those before it."""

    #: CPU torch.
    ANYWHERE = 1
    #: CUDA torch, DeepGEMM, a CUDA and a C compiler; no GPU.
    STUB = 2
    #: A GPU, and DeepGEMM on it.
    GPU = 3

    def __str__(self) -> str:
        return self.name.lower()


#: Names of run-time values; :func:`kregistry.conformance.cases.value_of` says which value each one is.
CASES = ("empty", "one", "tail", "block", "largest")
#: The cases at which there is something to compute.
FULL = CASES[1:]


class RuleViolation(Exception):
    """A kernel type breaks a rule: what was looked at, what was found, what was expected, and where."""

    def __init__(self, what: str, got: object, wanted: object, where: object = "") -> None:
        place = f" ({where})" if str(where) else ""
        super().__init__(f"{what}: got {got}, wanted {wanted}{place}")


class NotApplicable(Exception):
    """The rule asks nothing of this kernel type here; the reason is shown."""


@frozen
class Rule:
    """One rule.

    Attributes:
        id: ``KR103``; the first digit is the level.
        title: what must hold, a short phrase.
        check: takes a ``KernelTypeUnderTest``, and a case if the rule has cases.
        cases: names of the cases; empty: the rule is checked once.
        needs: rules that must hold before this one says anything.
        on_device: the rule launches on a real device: a GPU, or a CPU for kernel types that work there.
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
