"""Shapes and calls that do not fit a kernel type, or that nothing covers."""

from __future__ import annotations

from attrs import define

from kregistry.errors.base import InputError


@define
class ShapeError(InputError):
    """A shape that its kernel type refuses; ``dimension`` is empty when the rule spans several.

    ``ShapeError("text")`` is enough in ``check()``: :meth:`KernelType.resolve` adds the name of the kernel type.
    """

    kernel_type: str
    dimension: str = ""
    text: str = ""
    hint: str = ""

    def __attrs_post_init__(self) -> None:
        if not self.text:  # one text, or a text with the dimension after it
            self.kernel_type, self.text = "", self.kernel_type

    @property
    def message(self) -> str:
        where = ".".join(name for name in (self.kernel_type, self.dimension) if name)
        return f"{where}: {self.text}" if where else self.text


@define
class ArgumentError(InputError):
    """The arguments of a call do not fit its kernel type."""

    kernel_type: str
    problems: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"{self.kernel_type}: {'; '.join(self.problems)}"


@define
class UnseenCallError(InputError):
    """A call that no entry covers: DeepGEMM would compile a kernel now, or (``crashes``) fail to compile one.

    ``unknown`` is the reason why the kernel type does not know the call, so that no entry can cover it; else empty.
    """

    kernel_type: str
    shape: str
    run_dimension: str
    m: int
    crashes: bool = False
    unknown: str = ""

    @property
    def message(self) -> str:
        if self.unknown:
            return f"unknown call: {self.kernel_type} at {self.run_dimension} {self.m}: {self.unknown}"
        where = f"{self.kernel_type} {self.shape} at {self.run_dimension} {self.m}"
        return f"call of a kernel that does not compile: {where}" if self.crashes else f"unseen call: {where}"

    @property
    def hint(self) -> str:  # type: ignore[override]
        if self.unknown:
            return "no manifest can cover it: extend the kernel type, or call in a form that it knows"
        if self.crashes:
            return "DeepGEMM chooses a kernel here that the compiler refuses; see `kregistry docs broken-kernels`"
        return "add it to the manifest: kregistry record writes one that covers a run"
