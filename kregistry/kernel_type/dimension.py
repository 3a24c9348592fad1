"""Dimensions: what a manifest may say about one call site, declared once and used everywhere.

The same declaration validates a manifest, fills defaults, prints ``kregistry list NAME`` and generates the JSON Schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import field, frozen

from kregistry.errors import ShapeError, nearest_hint
from kregistry.target import Target

if TYPE_CHECKING:
    from kregistry.kernel_type.shape import Shape

#: A value that a dimension may take in a manifest.
Value: TypeAlias = int | str | bool | None
#: A named rule that gives the value of a dimension at one run-time value.
Policy: TypeAlias = Callable[["Shape", int], int]

REQUIRED: Final = object()


@frozen
class Dimension:
    """One static dimension of a kernel type.

    Attributes:
        name: the key in the manifest.
        meaning: one line for people.
        unit: what it counts, e.g. ``"columns"``.
        default: the value when the manifest is silent; a function of the target if it depends on it;
            ``REQUIRED`` (the default) means that the manifest must say it.
        integer: whether whole numbers are allowed.
        minimum: smallest allowed number.
        multiple_of: the number must be a multiple of this.
        choices: allowed words (or numbers, if ``integer`` is false).
        optional: whether ``none`` is allowed, meaning "not given" to DeepGEMM.
        policies: allowed names of rules that give the number at each run-time value.
        sizes_only: the number sizes buffers, differs from call to call, and decides no kernel (tokens in a KV cache):
            a call with any number is foreseen, and a recording keeps the largest.
        quiet: a setting of the process that few servers change: shapes are shown and written without it as long as it
            has its default, and a real call that does not show it has the default.
    """

    name: str
    meaning: str
    unit: str = ""
    default: Any = REQUIRED
    integer: bool = True
    minimum: int = 1
    multiple_of: int = 1
    choices: tuple[Value, ...] = ()
    optional: bool = False
    policies: Mapping[str, Policy] = field(factory=dict)
    sizes_only: bool = False
    quiet: bool = False

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def default_for(self, target: Target) -> Value:
        value: Value = self.default(target) if callable(self.default) else self.default
        return value

    def words(self) -> tuple[str, ...]:
        """Every allowed value that is not a plain number."""
        named = [choice if isinstance(choice, str) else show(choice) for choice in self.choices] + list(self.policies)
        return tuple(["none", *named] if self.optional else named)

    def expectation(self) -> str:
        """What is allowed, as a phrase: ``"an integer >= 1, a multiple of 8"``."""
        parts: list[str] = []
        if self.integer:
            number = f"an integer >= {self.minimum}"
            parts.append(number + (f" and a multiple of {self.multiple_of}" if self.multiple_of > 1 else ""))
        parts.extend(self.words())
        return " or ".join(parts)

    def check(self, kernel_type: str, value: object) -> Value:
        """The value in its canonical form.

        Raises:
            ShapeError: the value is not allowed.
        """
        if value is None or value == "none":
            if self.optional:
                return None
        elif isinstance(value, bool):
            if value in [choice for choice in self.choices if isinstance(choice, bool)]:
                return value
        elif isinstance(value, int):
            if value in [choice for choice in self.choices if not isinstance(choice, bool)]:
                return value
            if self.integer and value >= self.minimum and value % self.multiple_of == 0:
                return value
        elif isinstance(value, str) and (value in self.choices or value in self.policies):
            return value
        hint = nearest_hint(value, self.words(), "value") if isinstance(value, str) and self.words() else ""
        raise ShapeError(kernel_type, self.name, f"expected {self.expectation()}, got {show(value)}", hint)


def show(value: object) -> str:
    """A value as it would be written in YAML."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


@frozen
class RunDimension:
    """The dimension that varies while a server runs: tokens, expected_m, batch ...

    Attributes:
        name: the key in the manifest (``m``, ``expected_m`` ...).
        meaning: one line for people.
        unit: what it counts.
        start: default first value of a range.
        step: default distance of the values that a server can reach (alignment of contiguous layouts).
    """

    name: str
    meaning: str
    unit: str = ""
    start: int = 1
    step: int = 1
