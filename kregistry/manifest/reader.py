"""Reads a YAML file into a :class:`Manifest`, and reports all problems of the file at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, Protocol

from kregistry.errors import KregistryError, ShapeError, nearest_hint, quoted
from kregistry.kernel_type import KernelType
from kregistry.kernel_type.declaration import KERNEL_KEYS
from kregistry.manifest.document import Document, Path_, read_document
from kregistry.manifest.format import (
    ENGINES,
    KernelSource,
    ManifestSource,
    ModelSource,
    RangeSource,
    describe,
    structure,
)
from kregistry.manifest.model import Entry, Manifest, Range
from kregistry.manifest.targets import resolve_target
from kregistry.target import Target

FORMAT_VERSION = 1
#: Most values of one range: every one of them is launched on the stub GPU, which takes about 20 us.
MAX_RANGE_VALUES = 1 << 24
#: Largest value of a range: DeepGEMM's integers have 32 bits.
MAX_RUN_VALUE = (1 << 31) - 1
#: Most entries of one item of ``kernels``, and of a file.
MAX_FAN_OUT = 10_000
MAX_ENTRIES = 20_000


class KernelTypes(Protocol):
    """The methods of a :class:`kregistry.Registry` that the reader uses."""

    def __getitem__(self, name: str) -> KernelType: ...

    def names(self) -> tuple[str, ...]: ...

    def run_dimensions(self) -> tuple[str, ...]: ...

    def choosing(self, choices: Mapping[str, str]) -> KernelTypes: ...


def load_manifest(path: str | Path, kernel_types: KernelTypes, target: Target | str | None = None) -> Manifest:
    """Read and check a manifest.

    Args:
        path: the YAML file.
        kernel_types: a registry; it is not changed. The manifest keeps its own ``providers``: use
            ``registry.choosing(manifest.providers)`` to apply them.
        target: overrides the manifest's own target; a name, ``"detect"``, a YAML file or a :class:`Target`.

    Raises:
        ManifestError: all problems of the file, with line and column.
        InputError: the target is unknown, or neither the caller nor the manifest names one.
        StorageError: the file cannot be read.
        MissingRequirement: the target is ``detect`` and there is no GPU.
    """
    return read_manifest(read_document(path), kernel_types, target)


def read_manifest(document: Document, kernel_types: KernelTypes, target: Target | str | None = None) -> Manifest:
    """Like :func:`load_manifest`, for a parsed document."""
    _check_version(document)
    data = {key: value for key, value in document.data.items() if not str(key).startswith("x-")}
    data["version"] = FORMAT_VERSION
    source = structure(document, data, ManifestSource, (), partial=True)
    if source is None:
        document.raise_problems()
    assert source is not None
    if source.engine and source.engine not in ENGINES:
        text = f"unknown engine {quoted(source.engine)}, expected {' or '.join(ENGINES)}"
        document.report(("engine",), text, nearest_hint(source.engine, ENGINES, "engine"))
    chosen = resolve_target(document, source.target, target)
    reader = _Reader(document, kernel_types.choosing(source.providers), chosen, source)
    entries = tuple(reader.entries())
    document.raise_problems()
    assert chosen is not None
    return Manifest(document.file, chosen, tuple(source.models), entries, dict(source.providers), source.engine)


def _check_version(document: Document) -> None:
    """Check the version first, because a newer format may differ everywhere."""
    data = document.data
    if not isinstance(data, dict):
        document.report((), f"expected a mapping with version and models, got {describe(data)}")
        document.raise_problems()
    version = data.get("version")
    if "version" not in data:
        document.report(("version",), "the key 'version' is missing", f"add `version: {FORMAT_VERSION}`")
    elif type(version) is not int:
        document.report(("version",), f"expected {FORMAT_VERSION}, got {describe(version)}")
    elif version != FORMAT_VERSION:
        hint = "upgrade kregistry" if version > FORMAT_VERSION else ""
        document.report(("version",), f"expected {FORMAT_VERSION}, got {version}", hint)
        document.raise_problems()


class _Reader:
    def __init__(
        self, document: Document, kernel_types: KernelTypes, target: Target | None, source: ManifestSource
    ) -> None:
        self.document = document
        self.kernel_types = kernel_types
        self.target = target
        self.source = source
        self.defaults: dict[str, RangeSource | None] = {}
        self._count = 0
        self._check_names()
        for name, value in source.defaults.items():
            self.defaults[name] = structure(document, value, RangeSource, ("defaults", name))

    def _check_names(self) -> None:
        """Report unknown names in ``defaults`` and ``providers``, which would otherwise have no effect."""
        runs = self.kernel_types.run_dimensions()
        for name in self.source.defaults:
            if name not in runs:
                hint = nearest_hint(str(name), runs, "run-time dimension")
                self.document.report(("defaults", str(name)), f"unknown run-time dimension {quoted(name)}", hint)
        names = self.kernel_types.names()
        for name in self.source.providers:
            if name not in names:
                hint = nearest_hint(name, names, "kernel type")
                self.document.report(("providers", name), f"unknown kernel type {quoted(name)}", hint)

    def entries(self) -> Iterator[Entry]:
        for name, data in self.source.models.items():
            path: Path_ = ("models", str(name))
            if not isinstance(name, str):
                self.document.report(path, f"expected a string as key, got {describe(name)}", "quote it")
            model = structure(self.document, data, ModelSource, path, partial=True)
            if model is None:
                continue
            for index, kernel in enumerate(model.kernels):
                place: Path_ = (*path, "kernels", index)
                for entry in self._kernel(name, kernel, place):
                    self._count += 1
                    if self._count > MAX_ENTRIES:
                        self.document.report(place, f"more than {MAX_ENTRIES} entries in one file", "use several files")
                        return
                    yield entry

    def _kernel(self, model: str, data: object, path: Path_) -> Iterator[Entry]:
        """The entries of one item of ``kernels``; none, or fewer, if it has problems, which are reported."""
        if not isinstance(data, dict):
            self.document.report(path, f"expected a mapping with type and shape, got {describe(data)}")
            return
        known = {key: value for key, value in data.items() if key in KERNEL_KEYS}
        source = structure(self.document, known, KernelSource, path, partial=True)
        kernel_type = self._look_up(data.get("type"), (*path, "type"))
        if kernel_type is None:
            return
        run_name = kernel_type.run_dimension.name
        for key in data:
            if key not in (*KERNEL_KEYS, run_name):
                hint = nearest_hint(str(key), (*KERNEL_KEYS, run_name), "key")
                self.document.report((*path, str(key)), "unknown key", hint)
        span = self._range(kernel_type, data.get(run_name), (*path, run_name))
        if source is None:
            return
        line, _ = self.document.marks.get(path, (0, 0))
        for values, path_of in self._fan_out(source.shape, (*path, "shape")):
            faults = list(kernel_type.validation_errors(values))
            if self.target is not None and not faults:
                try:
                    shape = kernel_type.resolve(values, self.target)
                except ShapeError as error:
                    faults.append(error)
                else:
                    if span is not None:
                        yield Entry(model, source.label, shape, span, line)
            for fault in faults:
                self.document.report(path_of(fault.dimension), fault.text, fault.hint)

    def _look_up(self, name: object, path: Path_) -> KernelType | None:
        if not isinstance(name, str):
            return None
        try:
            return self.kernel_types[name]
        except KregistryError as error:
            self.document.report(path, error.message, error.hint)
            return None

    def _range(self, kernel_type: KernelType, data: object, path: Path_) -> Range | None:
        run = kernel_type.run_dimension
        own = RangeSource() if data is None else structure(self.document, data, RangeSource, path)
        if own is None:
            return None
        default = self.defaults.get(run.name, RangeSource())
        if default is None:
            return None  # the problem is already reported
        stop = _first(own.stop, default.stop)
        start = _first(own.start, default.start, run.start)
        step = _first(own.step, default.step, run.step)
        if stop is None:
            hint = f"{run.name}: {{stop: ...}}, or a default for all entries: defaults: {{{run.name}: {{stop: ...}}}}"
            self.document.report(path, f"the last value of {run.name} is missing", hint)
            return None
        assert start is not None and step is not None
        if stop < start:
            self.document.report(path, f"stop ({stop}) must be >= start ({start})")
            return None
        if stop > MAX_RUN_VALUE:
            self.document.report(path, f"stop ({stop}) must be <= {MAX_RUN_VALUE}, the largest 32-bit integer")
            return None
        if (stop - start) // step >= MAX_RANGE_VALUES:
            count = (stop - start) // step + 1
            self.document.report(path, f"{count} values, more than {MAX_RANGE_VALUES}", "every value is planned")
            return None
        return Range(run.name, start, start + (stop - start) // step * step, step)

    def _fan_out(self, data: object, path: Path_) -> Iterator[tuple[dict[str, Any], Callable[[str], Path_]]]:
        """Each combination of values of a shape, with a function from a dimension to its path in the file."""
        if isinstance(data, list):
            if not data:
                self.document.report(path, "expected at least one mapping of dimensions, got an empty list")
            for index, item in enumerate(data):
                if isinstance(item, list):
                    self.document.report((*path, index), "expected a mapping, got a list")
                else:
                    yield from self._fan_out(item, (*path, index))
        elif not isinstance(data, dict):
            self.document.report(path, f"expected a mapping of dimensions, or a list of them, got {describe(data)}")
        else:
            choices: list[list[tuple[Any, Path_]]] = []
            for name, value in data.items():
                place = (*path, str(name))
                if value == []:
                    self.document.report(place, "expected at least one value, got an empty list")
                many = value if isinstance(value, list) else None
                choices.append([(v, (*place, i)) for i, v in enumerate(many)] if many is not None else [(value, place)])
            names = [str(name) for name in data]
            if prod(map(len, choices)) > MAX_FAN_OUT:
                text = f"{prod(map(len, choices))} combinations of values, more than {MAX_FAN_OUT}"
                self.document.report(path, text, "split the lists into several entries")
                return
            for combination in itertools.product(*choices):
                places = {name: place for name, (_, place) in zip(names, combination)}
                yield {name: value for name, (value, _) in zip(names, combination)}, _place_of(places, path)


def _place_of(places: Mapping[str, Path_], path: Path_) -> Callable[[str], Path_]:
    def path_of(dimension: str) -> Path_:
        return places.get(dimension, (*path, dimension) if dimension else path)

    return path_of


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
