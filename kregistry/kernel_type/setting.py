"""Setting: a process-wide setting of DeepGEMM that the kernels of a kernel type depend on.

In a manifest it is a dimension, which is left out if it has its default. :mod:`kregistry.deep_gemm.settings` applies it
around the launches of a shape, and reads it from the process when a real call is recognised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from kregistry.kernel_type.dimension import REQUIRED, Choice, Dimension, Flag, Size, show
from kregistry.target import Target


def _itself(value: Any) -> Any:
    return value


@frozen
class Setting:
    """One setting: a flag if its default is a bool, one of ``choices`` if given, and otherwise a whole number.

    Attributes:
        name: the key in the manifest.
        meaning: a description in one line; by default the name of the function that sets it.
        set: name of the function of ``deep_gemm`` that sets it.
        get: name of the function of ``deep_gemm`` that returns it; empty if there is none. A real call is then assumed
            to have the value of the last call of ``set`` that was seen (:mod:`kregistry.deep_gemm.setters`), and the
            default if none was.
        to_argument: value of the manifest -> argument of ``set``; default: the value itself.
        from_argument: argument of ``set`` -> value of the manifest; default: the argument itself.
        default: the value if a manifest gives none; a function of the target if it depends on the device.
        unit, minimum, multiple_of, maximum, choices: as in :class:`Size` or :class:`Choice`.
        archs: the archs on which the kernels depend on it, e.g. ``("sm100",)``; empty: all. On other archs a real
            call is assumed to have the default.
        needs_device: whether both functions fail in a process without a GPU, which then has the default.
        dimension: the dimension of the manifest.

    Raises:
        ValueError: the default is not one of the allowed values.
    """

    name: str
    meaning: str = ""
    set: str = field(kw_only=True)
    get: str = field(default="", kw_only=True)
    default: Any = field(kw_only=True)
    unit: str = field(default="", kw_only=True)
    minimum: int = field(default=1, kw_only=True)
    multiple_of: int = field(default=1, kw_only=True)
    maximum: Callable[[Target], int] | None = field(default=None, kw_only=True)
    choices: tuple[int | str, ...] = field(default=(), kw_only=True)
    to_argument: Callable[[Any], Any] = field(default=_itself, kw_only=True)
    from_argument: Callable[[Any], Any] = field(default=_itself, kw_only=True)
    archs: tuple[str, ...] = field(default=(), kw_only=True)
    needs_device: bool = field(default=False, kw_only=True)
    dimension: Dimension = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # A function of the target can only be checked with a target.
        if not callable(self.default) and not self.dimension.accepts(self.default):
            given = "REQUIRED" if self.default is REQUIRED else show(self.default)
            raise ValueError(f"setting {self.name!r}: default: expected {self.dimension.expectation()}, got {given}")

    def matters_on(self, arch: str) -> bool:
        """Whether kernels depend on the setting on an arch."""
        return not self.archs or arch in self.archs

    @dimension.default
    def _dimension(self) -> Dimension:
        meaning = self.meaning or f"deep_gemm.{self.set}()"
        if isinstance(self.default, bool):
            return Flag(self.name, meaning, self.default)
        if self.choices:
            return Choice(self.name, meaning, self.choices, self.default, self.unit)
        limits = (self.minimum, self.multiple_of, self.maximum)
        return Size(self.name, meaning, self.unit, self.default, *limits)
