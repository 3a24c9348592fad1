"""Shape: the static dimensions of one call site, complete and checked, for one target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from kregistry.kernel_type.dimension import Dimension, Value
from kregistry.kernel_type.words import show_shape
from kregistry.target import Target


@frozen
class Shape(Mapping[str, Value]):
    """Immutable, hashable and picklable; dimensions read as items or attributes: ``shape["n"]``, ``shape.n``.

    Quiet dimensions at their default are read like the others, and are left out where a shape is iterated or shown.

    Attributes:
        kernel_type: name of the kernel type that the shape belongs to.
        items_: (dimension, value) pairs in the order of the declaration.
        target: the GPU that the shape is planned for; buffers depend on it (scale layouts differ by arch).
        unsaid: names of the quiet dimensions that have their default.
    """

    kernel_type: str
    items_: tuple[tuple[str, Value], ...]
    target: Target
    unsaid: frozenset[str] = field(default=frozenset(), eq=False, repr=False)
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
        return (name for name in self._values if name not in self.unsaid)

    def __len__(self) -> int:
        return len(self._values) - len(self.unsaid)

    def __str__(self) -> str:
        return show_shape(self)

    def at(self, dimension: Dimension, m: int) -> int | None:
        """The number that a dimension has at one run-time value: policies are asked, numbers are themselves."""
        value = self._values[dimension.name]
        if isinstance(value, str) and value in dimension.policies:
            return dimension.policies[value](self, m)
        return None if value is None else int(value)
