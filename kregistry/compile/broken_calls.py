"""Which calls would crash a server, because DeepGEMM chooses a kernel for them that does not compile."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from attrs import frozen

from kregistry.errors import CompileError
from kregistry.manifest import Entry
from kregistry.plan.plan import Plan, span
from kregistry.store.failures import FailedKernel

#: How much of what the compiler said is shown: its errors, or else its last lines.
_LINES = 12


@frozen
class BrokenRange:
    """Run-time values at which an entry's call needs a kernel that does not compile; ``stop`` belongs to it."""

    entry: Entry
    start: int
    stop: int


@frozen
class BrokenKernel:
    """A kernel that does not compile, and the calls that need it.

    Attributes:
        kernel: its id.
        key: its key in the store.
        output: the compiler's words.
        ranges: where a server would crash, entry by entry, ascending.
        known: whether an earlier build found it.
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


def broken_kernels(plan: Plan, failed: Iterable[FailedKernel]) -> tuple[BrokenKernel, ...]:
    """The kernels of a plan that do not compile, with everyone who uses them."""
    return tuple(
        BrokenKernel(
            each.kernel.id,
            each.kernel.key,
            each.output,
            tuple(
                BrokenRange(planned.entry, start, stop)
                for planned in plan.entries
                for start, stop in planned.spans_of(each.kernel.id)
            ),
            each.known,
        )
        for each in failed
    )


def broken_error(
    broken: Iterable[BrokenKernel], total: int, problems: Iterable[str] = (), report: object = None
) -> CompileError:
    """The error of a plan of ``total`` kernels with some that do not compile, and of its other problems."""
    details = tuple(map(str, broken))
    return CompileError(
        f"{len(details)} of {total} kernels do not compile",
        (*details, *problems),
        "--allow-broken goes on without them, where no call comes to these values; see `kregistry docs broken-kernels`",
        report,
    )
