"""What the process of the engine writes and its parent reads: lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from attrs import asdict, field, frozen

from kregistry.kernel_type import Value


@frozen
class RehearsedCall:
    """One call site with one run-time value.

    Attributes:
        kernel_type: the name of the kernel type.
        shape: the dimensions.
        m: the run-time value.
        step: the kind of the forward that made it: ``load``, ``prefill``, ``decode`` or ``captured decode``.
        tokens: the tokens of that forward on this rank.
        requests: its requests.
        site: the engine's file below its package, and the line, of the call.
        model_site: the same of the model's code that led to it; empty if there is none on the stack.
        module: the module of the model, e.g. ``model.layers.3.mlp.experts``.
        weight: its weight that was passed, e.g. ``w13_weight``.
    """

    kernel_type: str
    shape: Mapping[str, Value]
    m: int
    step: str
    tokens: int
    requests: int
    site: str
    model_site: str
    module: str
    weight: str


@frozen
class Unread:
    """A DeepGEMM function with a call that no kernel type can read, and why each cannot."""

    function: str
    reason: str
    site: str


@frozen
class Forward:
    """A forward that was run."""

    step: str
    tokens: int
    requests: int


@frozen
class Failure:
    """How the rehearsal ended early.

    Attributes:
        kind: ``patch`` (it does not fit the engine), ``memory`` (the device is too small), ``engine`` (any other).
        stage: what was going on: ``arguments``, ``load``, ``serve``.
        text: the message of the exception with its type.
        site: where it was raised.
    """

    kind: str
    stage: str
    text: str
    site: str


@frozen
class Facts:
    """What the engine says of itself.

    Attributes:
        architecture: the class of the model.
        ranks: the number of ranks, of which this process was the first.
        most_requests: the most requests of a decode step.
        most_captured: the most requests of a captured decode step; 0: none is captured, or nothing differs in it.
        warmed: kernel type -> the largest run-time value that the engine's own warm-up loads.
        fits: whether the model fits into the memory of the target.
    """

    architecture: str
    ranks: int
    most_requests: int
    most_captured: int
    warmed: Mapping[str, int] = field(factory=dict)
    fits: bool = True


@frozen
class Replaced:
    """What was not run, and how often it was called."""

    counts: Mapping[str, int]


Line = RehearsedCall | Unread | Forward | Failure | Facts | Replaced
_KINDS: Mapping[str, Any] = {each.__name__: each for each in (RehearsedCall, Unread, Forward, Failure, Facts, Replaced)}


def write_line(out: TextIO, line: Line) -> None:
    """Write a line at once, so that a process that dies loses nothing."""
    out.write(json.dumps({"line": type(line).__name__, **asdict(line)}) + "\n")
    out.flush()


@frozen
class Findings:
    """Everything that a rehearsal found."""

    calls: tuple[RehearsedCall, ...]
    unread: tuple[Unread, ...]
    forwards: tuple[Forward, ...]
    failure: Failure | None
    facts: Facts | None
    replaced: Mapping[str, int]


def read_findings(path: Path) -> Findings:
    """Read what a process has written; a line that it had no time to end is left out."""
    lines: list[Line] = []
    for text in path.read_text().splitlines(keepends=True) if path.exists() else ():
        if text.endswith("\n"):
            content = json.loads(text)
            lines.append(_KINDS[content.pop("line")](**content))

    def every(kind: Any) -> tuple[Any, ...]:
        return tuple(each for each in lines if isinstance(each, kind))

    return Findings(
        every(RehearsedCall),
        every(Unread),
        every(Forward),
        _last(every(Failure)),
        _last(every(Facts)),
        next((each.counts for each in every(Replaced)), {}),
    )


def _last(found: Iterable[Any]) -> Any:
    return next(iter(reversed(tuple(found))), None)
