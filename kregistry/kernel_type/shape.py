"""Shape: the complete, checked static dimensions of one call site, for one target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

from attrs import field, frozen

from kregistry.kernel_type.display import show_shape
from kregistry.target import Target

#: A value that a dimension may take in a manifest.
Value: TypeAlias = int | str | bool | None
#: A named rule that gives the value of a dimension at one run-time value.
Policy: TypeAlias = Callable[["Shape", int], int]


class Varying(Protocol):
    """The attributes of a dimension that :meth:`Shape.at` reads."""

    @property
    def name(self) -> str: ...

    @property
    def policies(self) -> Mapping[str, Policy]: ...


@frozen
class Shape(Mapping[str, Value]):
    """The dimensions of a call site, as items or attributes: ``shape["n"]``, ``shape.n``. Immutable and hashable.

    As a mapping it holds every dimension and every setting. Text and files omit settings that have their default, and
    dimensions that are hidden at it; see :meth:`shown`.

    Attributes:
        kernel_type: name of the kernel type that the shape belongs to.
        items_: (dimension, value) pairs in the order of the declaration, settings last.
        target: the GPU that the shape is planned for; buffers depend on it (scale layouts differ by arch).
    """

    kernel_type: str
    items_: tuple[tuple[str, Value], ...]
    target: Target
    _hidden: frozenset[str] = field(default=frozenset(), eq=False, repr=False)
    _values: dict[str, Value] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_values", dict(self.items_))

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            try:
                return self._values[name]
            except KeyError:
                pass
        raise AttributeError(f"shape of {self.kernel_type} has no dimension {name!r}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def shown(self) -> dict[str, Value]:
        """The values that a manifest must give for this shape: all that are not hidden at their default."""
        return {name: value for name, value in self.items_ if name not in self._hidden}

    def __str__(self) -> str:
        return show_shape(self.shown())

    def at(self, dimension: Varying, m: int) -> int | None:
        """The number that a dimension has at run-time value ``m``; a policy is evaluated."""
        value = self._values[dimension.name]
        if isinstance(value, str) and value in dimension.policies:
            return dimension.policies[value](self, m)
        return None if value is None else int(value)
