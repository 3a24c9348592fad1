"""Which entries a reader asks for: words of a command line, matched with the entries of a plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from kregistry.errors import InputError, nearest_hint, quoted, shorten
from kregistry.events.planned import PlannedEntry
from kregistry.kernel_type.display import manifest_value

#: A word that ends like a manifest or a lock file is one.
_FILE = re.compile(r".+\.(?:ya?ml|lock|json)")
_PLACE = re.compile(r"(?P<file>.+\.ya?ml):(?P<line>\d{1,9})(?::\d+)?")


_MOST_DIGITS = 18


@frozen
class EntrySelection:
    """What to look for.

    Attributes:
        names: kernel types, or parts of labels.
        values: dimension -> value, as text.
        file, line: a manifest or lock file, and a place in it; ``None`` and 0 without.
    """

    names: tuple[str, ...] = ()
    values: Mapping[str, str] = field(factory=dict)
    file: Path | None = None
    line: int = 0

    @classmethod
    def parse(cls, words: tuple[str, ...]) -> EntrySelection:
        """``fp8_gemm_nt``, ``n=7168``, ``kernels.yaml``, ``kernels.yaml:17``.

        Raises:
            InputError: the words name two files.
        """
        names: list[str] = []
        values: dict[str, str] = {}
        files: list[Path] = []
        line = 0
        for word in words:
            place = _PLACE.fullmatch(word)
            name, equals, value = word.partition("=")
            if place:
                files.append(Path(place["file"]))
                line = int(place["line"])
            elif equals:
                values[name] = value
            elif _FILE.fullmatch(word):
                files.append(Path(word))
            else:
                names.append(word)
        if len(set(files)) > 1:
            raise InputError(f"two files: {files[0]} and {files[1]}", "name one of them")
        return cls(tuple(names), values, files[0] if files else None, line)

    def find(self, entries: tuple[PlannedEntry, ...], file: Path) -> tuple[PlannedEntry, ...]:
        """The entries that are meant, in the order of the manifest.

        Raises:
            InputError: there is none; the hint names what there is.
        """
        found = self._at_line(entries, file) if self.line else entries
        for name in self.names:
            same = [each for each in found if name in (each.entry.kernel_type, each.entry.label, each.entry.model)]
            matching = tuple(same) or tuple(each for each in found if name.lower() in each.entry.label.lower())
            if not matching:
                known = {text for each in found for text in (each.entry.kernel_type, each.entry.label) if text}
                raise InputError(f"{file} has no entry {quoted(name)}", nearest_hint(name, known, "entry"))
            found = matching
        for name, value in self.values.items():
            found = self._with_value(found, name, value, file)
        return found

    def m(self, planned: PlannedEntry) -> int | None:
        """The value of the run-time dimension that is asked for."""
        text = self.values.get(planned.entry.range.name)
        return _integer(text) if text is not None and text.isdecimal() else None

    def _at_line(self, entries: tuple[PlannedEntry, ...], file: Path) -> tuple[PlannedEntry, ...]:
        start = max((each.entry.line for each in entries if 0 < each.entry.line <= self.line), default=0)
        if not start:
            first = min((each.entry.line for each in entries), default=0)
            raise InputError(f"{file}:{self.line}: no entry begins at or before this line", f"the first is at {first}")
        return tuple(each for each in entries if each.entry.line == start)

    def _with_value(
        self, entries: tuple[PlannedEntry, ...], name: str, value: str, file: Path
    ) -> tuple[PlannedEntry, ...]:
        run = [each for each in entries if each.entry.range.name == name]
        if run:
            return self._with_m(tuple(run), name, value, file)
        shapes = [(each, dict(each.entry.shape.items())) for each in entries]
        known = sorted({dimension for _, shape in shapes for dimension in shape})
        if name not in known:
            runs = sorted({each.entry.range.name for each in entries})
            raise InputError(f"no such dimension: {shorten(name)}", nearest_hint(name, (*known, *runs), "dimension"))
        found = tuple(each for each, shape in shapes if name in shape and _text(shape[name]) == value.lower())
        if not found:
            values = dict.fromkeys(_text(shape[name]) for _, shape in shapes if name in shape)
            raise InputError(
                f"{file} has no such entry with {name}={shorten(value)}", f"there is {name}={', '.join(values)}"
            )
        return found

    @staticmethod
    def _with_m(entries: tuple[PlannedEntry, ...], name: str, value: str, file: Path) -> tuple[PlannedEntry, ...]:
        if not value.isdecimal():
            raise InputError(f"{name}={shorten(value)}: expected an integer", f"e.g. {name}=300")
        found = tuple(each for each in entries if _integer(value) in each.entry.range.values())
        if not found:
            ranges = ", ".join(dict.fromkeys(str(each.entry.range) for each in entries))
            raise InputError(f"{name}={shorten(value)} is in no range of {file}", f"there is {ranges}")
        return found


def _integer(digits: str) -> int:
    """The number; one that is larger than any value of a range if there are too many digits for Python."""
    return int(digits) if len(digits) <= _MOST_DIGITS else 1 << 63


def _text(value: object) -> str:
    return str(manifest_value(value)).lower()
