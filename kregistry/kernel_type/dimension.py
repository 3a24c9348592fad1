"""Dimension: a key of a call site in the manifest, with its allowed values and its default.

One declaration validates manifests, fills in defaults, prints ``kregistry list NAME`` and generates the JSON Schema.
A dimension is a :class:`Size` (a number), a :class:`Choice` (one of a few words or numbers) or a :class:`Flag`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen

from kregistry.errors import ShapeError, nearest_hint, quoted
from kregistry.kernel_type.shape import Policy, Value
from kregistry.target import Target

REQUIRED: Final = object()
_NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Dimension(ABC):
    """One static dimension of a kernel type: a :class:`Size`, a :class:`Choice` or a :class:`Flag`.

    Attributes:
        name: the key in the manifest.
        meaning: a description in one line.
        unit: the unit of the number, e.g. ``"columns"``.
        default: the value if the manifest gives none; a function of the target if it depends on the target;
            ``REQUIRED`` if the manifest must give it.
        policies: names of rules that give the number at each run-time value; sizes only.
        affects_kernel: whether DeepGEMM's choice of a kernel may depend on it; ``False`` for sizes only.
        needs: value -> PEP 440 specifier of the DeepGEMM versions that accept it; for other values, all versions.
        hidden_at_default: whether manifests and texts leave it out if it has its default, as they do with settings.
    """

    name: str
    meaning: str
    unit: str
    default: Any
    policies: Mapping[str, Policy] = _NOTHING
    affects_kernel: bool = True
    needs: Mapping[Any, str] = _NOTHING
    hidden_at_default: bool = False

    @abstractmethod
    def accepts(self, value: object) -> bool:
        """Whether a value is allowed; ``None`` means "not given" to DeepGEMM."""

    @abstractmethod
    def named_values(self) -> tuple[str, ...]:
        """Every allowed value that is not a plain number, as written in a manifest."""

    def expectation(self) -> str:
        """What is allowed, as a phrase: ``"an integer >= 1, a multiple of 8"``."""
        return " or ".join(self.named_values())

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def default_for(self, target: Target) -> Value:
        value: Value = self.default(target) if callable(self.default) else self.default
        return value

    def check(self, kernel_type: str, value: object) -> Value:
        """The value in its canonical form.

        Raises:
            ShapeError: the value is not allowed.
        """
        is_word = isinstance(value, str) and self.accepts(value)  # "none" may be one
        canonical: Any = None if value == "none" and not is_word else value
        if self.accepts(canonical):
            found: Value = canonical
            return found
        names = self.named_values()
        hint = nearest_hint(value, names, "value") if isinstance(value, str) and names else ""
        raise ShapeError(kernel_type, self.name, f"expected {self.expectation()}, got {show(value)}", hint)

    def check_for(self, kernel_type: str, value: Value, target: Target) -> None:  # noqa: B027 - only sizes have limits
        """Refuse a value that is allowed in general, but not on this target.

        Raises:
            ShapeError: the value is not allowed there; the text names the target.
        """


@frozen
class Size(Dimension):
    """A whole number: rows, columns, groups ...

    Attributes:
        minimum: smallest allowed number.
        multiple_of: the number must be a multiple of this.
        maximum: function of the target: the largest number that it accepts.
        optional: whether ``none`` is allowed, meaning "not given" to DeepGEMM.
        policies: allowed names of rules that give the number at each run-time value.
        affects_kernel: ``False`` if it only affects buffer sizes, never which kernel is chosen (tokens in a KV cache):
            any value counts as covered, and recordings keep the largest.
    """

    name: str
    meaning: str
    unit: str = ""
    default: Any = REQUIRED
    minimum: int = 1
    multiple_of: int = 1
    maximum: Callable[[Target], int] | None = None
    optional: bool = False
    policies: Mapping[str, Policy] = field(factory=dict)
    affects_kernel: bool = True

    def accepts(self, value: object) -> bool:
        if value is None:
            return self.optional
        if isinstance(value, str):
            return value in self.policies
        if isinstance(value, int) and not isinstance(value, bool):
            return value >= self.minimum and value % self.multiple_of == 0
        return False

    def named_values(self) -> tuple[str, ...]:
        return (*(("none",) if self.optional else ()), *self.policies)

    def expectation(self) -> str:
        grain = f" and a multiple of {self.multiple_of}" if self.multiple_of > 1 else ""
        return " or ".join((f"an integer >= {self.minimum}{grain}", *self.named_values()))

    def check_for(self, kernel_type: str, value: Value, target: Target) -> None:
        """
        Raises:
            ShapeError: the value is more than the target allows.
        """
        if self.maximum is not None and isinstance(value, int) and value > self.maximum(target):
            text = f"{value} is more than the {self.maximum(target)} of {target.name}"
            raise ShapeError(kernel_type, self.name, text)


@frozen
class Choice(Dimension):
    """One of a few words, or of a few numbers.

    Attributes:
        choices: the allowed values.
    """

    name: str
    meaning: str
    choices: tuple[int | str, ...]
    default: Any = REQUIRED
    unit: str = ""
    needs: Mapping[Any, str] = field(factory=dict)
    hidden_at_default: bool = False

    def accepts(self, value: object) -> bool:
        return isinstance(value, (int, str)) and not isinstance(value, bool) and value in self.choices

    def named_values(self) -> tuple[str, ...]:
        return tuple(each if isinstance(each, str) and each else show(each) for each in self.choices)


@frozen
class Flag(Dimension):
    """True or false."""

    name: str
    meaning: str
    default: Any = REQUIRED
    unit: str = ""
    needs: Mapping[Any, str] = field(factory=dict)

    def accepts(self, value: object) -> bool:
        return isinstance(value, bool)

    def named_values(self) -> tuple[str, ...]:
        return ("true", "false")


def show(value: object) -> str:
    """A value as it would be written in YAML."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else quoted(value)


@frozen
class RunDimension:
    """The dimension that varies while a server runs: tokens, expected_m, batch ...

    Attributes:
        name: the key in the manifest (``m``, ``expected_m`` ...).
        meaning: a description in one line.
        unit: the unit of the value, e.g. ``"tokens"``.
        start: default first value of a range.
        step: default distance between the values that occur (the alignment of contiguous layouts).
    """

    name: str
    meaning: str
    unit: str = ""
    start: int = 1
    step: int = 1
