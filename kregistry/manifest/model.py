"""Manifest: complete, checked entries for one target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from kregistry.errors import UnknownNameError
from kregistry.kernel_type import Shape
from kregistry.target import Target


@frozen
class Range:
    """Values of a run-time dimension: start, start + step, ... up to and including stop."""

    name: str
    start: int
    stop: int
    step: int = 1

    def values(self) -> range:
        return range(self.start, self.stop + 1, self.step)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "start": self.start, "stop": self.stop, "step": self.step}

    def __str__(self) -> str:
        return f"{self.name} {self.start}..{self.stop}" + (f" step {self.step}" if self.step != 1 else "")


@frozen
class Entry:
    """One call site of a model: a kernel type with one shape and a range of the run-time dimension.

    Attributes:
        model, label: of the manifest.
        shape: the kernel type and its fixed dimensions.
        range: values of the run-time dimension.
        line: where it begins in the file; 0 if it comes from no file.
    """

    model: str
    label: str
    shape: Shape
    range: Range
    line: int = field(default=0, eq=False, repr=False)

    @property
    def kernel_type(self) -> str:
        return self.shape.kernel_type

    def __str__(self) -> str:
        label = f" ({self.label})" if self.label else ""
        return f"{self.model}: {self.kernel_type} {self.shape}{label}"


@frozen
class Manifest:
    """The entries of all models of a file, for one target.

    Attributes:
        file: where it was read, for messages.
        engine: the engine of the servers, which decides where they look for kernels; empty if none is named.
    """

    file: str
    target: Target
    models: tuple[str, ...]
    entries: tuple[Entry, ...]
    providers: Mapping[str, str]
    engine: str = ""

    def select(self, models: Iterable[str]) -> Manifest:
        """The manifest with the entries of some models only; with all entries if no model is named.

        Raises:
            UnknownNameError: the manifest has no such model.
        """
        wanted = tuple(dict.fromkeys(models))
        for name in wanted:
            if name not in self.models:
                raise UnknownNameError("model", name, self.models)
        if not wanted:
            return self
        entries = tuple(entry for entry in self.entries if entry.model in wanted)
        return Manifest(self.file, self.target, wanted, entries, self.providers, self.engine)
