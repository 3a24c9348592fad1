"""The outcome of a kernel in a build, and the calls that need a kernel that does not compile."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from attrs import field, frozen

from kregistry.events.planned import span
from kregistry.kernel import Kernel
from kregistry.manifest.model import Entry

#: At most this many lines of the compiler's output are shown: its errors, or else its last lines.
_LINES = 12


@frozen
class CompiledKernel:
    """A kernel that this build has compiled.

    Attributes:
        kernel: the kernel.
        seconds: run time of its compiler in seconds, including its share of a shared front end.
        nbytes: size of the cubin in bytes.
        front_end_seconds: its share of a shared front end in seconds; ``None`` if nvcc compiled the kernel alone.
    """

    kernel: Kernel
    seconds: float
    nbytes: int
    front_end_seconds: float | None = None


@frozen
class FailedKernel:
    """A kernel that does not compile, with the compiler's command and output.

    Attributes:
        kernel: the kernel.
        command: the command that was run.
        output: the compiler's output.
        known: whether an earlier build found this; the kernel was then not compiled again.
    """

    kernel: Kernel
    command: str = field(repr=False)
    output: str
    known: bool = False


@frozen
class BrokenRange:
    """Run-time values at which an entry's call needs a kernel that does not compile; ``stop`` is included."""

    entry: Entry
    start: int
    stop: int


@frozen
class BrokenKernel:
    """A kernel that does not compile, and the calls that need it.

    Attributes:
        kernel: its id.
        key: its key in the store.
        output: the compiler's output.
        ranges: the values at which a server would crash, by entry, ascending.
        known: whether an earlier build found this.
    """

    kernel: str
    key: str
    output: str
    ranges: tuple[BrokenRange, ...]
    known: bool = False

    def _entries(self) -> list[tuple[Entry, list[BrokenRange]]]:
        return [(entry, list(ranges)) for entry, ranges in groupby(self.ranges, key=lambda each: each.entry)]

    def __str__(self) -> str:
        lines = [f"{self.kernel} {'is known not to' if self.known else 'does not'} compile"]
        for entry, ranges in self._entries():
            spans = ", ".join(span(each.start, each.stop) for each in ranges)
            lines.append(f"a server would crash in {entry} at {entry.range.name} {spans}")
        said = self.output.strip().splitlines()
        errors = [line.strip() for line in said if re.search(r"\berrors?\b", line)]
        lines += errors[:_LINES] or said[-_LINES:]
        return "\n    ".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.kernel,
            "output": self.output,
            "known": self.known,
            "crashes": [
                {
                    "entry": str(entry),
                    "range": entry.range.name,
                    "spans": [[each.start, each.stop] for each in ranges],
                }
                for entry, ranges in self._entries()
            ],
        }
