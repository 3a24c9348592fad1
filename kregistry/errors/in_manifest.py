"""The problems of one manifest."""

from __future__ import annotations

from attrs import define, frozen

from kregistry.errors.base import InputError


@frozen
class ManifestProblem:
    """One problem in a manifest: where it is, what was found and what was expected."""

    file: str
    line: int
    column: int
    path: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        head = f"{where}: {self.path}: {self.text}" if self.path else f"{where}: {self.text}"
        return f"{head}\n  hint: {self.hint}" if self.hint else head


@define
class ManifestError(InputError):
    """The problems of one manifest, in the order of the file; with ``more``, the file was not read to its end."""

    problems: tuple[ManifestProblem, ...]
    more: bool = False

    @property
    def message(self) -> str:
        count = len(self.problems)
        lines = "\n".join(str(problem) for problem in self.problems)
        first = "the first " if self.more else ""
        return f"{lines}\n{first}{count} problem{'s' if count != 1 else ''} in {self.problems[0].file}"
