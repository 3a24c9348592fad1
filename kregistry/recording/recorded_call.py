"""A recorded call, and the lines of JSON by which recorded processes report calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from kregistry.bounded_input import parse_json
from kregistry.kernel_type import Value

#: A kernel type's name and the dimensions of one call site.
Key = tuple[str, tuple[tuple[str, Value], ...]]


@frozen
class Recorded:
    """One call site: what was called, and with which run-time values."""

    kernel_type: str
    shape: Mapping[str, Value]
    values: frozenset[int]


@frozen
class CallLine:
    """One call."""

    kernel_type: str
    shape: Mapping[str, Value]
    m: int


@frozen
class ProblemLine:
    """A DeepGEMM function with calls that could not be recorded, and the reason."""

    function: str
    problem: str


@frozen
class TargetLine:
    """The device of a recorded process, as the fields of a :class:`~kregistry.target.Target`."""

    device: Mapping[str, Any]


Line = CallLine | ProblemLine | TargetLine


def write_line(line: Line) -> bytes:
    """The line with its newline."""
    if isinstance(line, CallLine):
        content: dict[str, Any] = {"type": line.kernel_type, "shape": dict(line.shape), "m": line.m}
    elif isinstance(line, ProblemLine):
        content = {"function": line.function, "problem": line.problem}
    else:
        content = {"target": dict(line.device)}
    return json.dumps(content).encode() + b"\n"


def read_line(text: bytes) -> Line:
    """
    Raises:
        ValueError: it is not a line that :func:`write_line` writes.
    """
    content = parse_json(text)
    if not isinstance(content, dict):
        raise ValueError("not an object")
    match content:
        case {"target": dict(device)}:
            return TargetLine(device)
        case {"function": str(function), "problem": str(problem)}:
            return ProblemLine(function, problem)
        case {"type": str(name), "shape": dict(shape), "m": int(m)} if 0 <= m < 1 << 31 and all(
            map(is_value, shape.values())
        ):
            return CallLine(name, shape, m)
    raise ValueError("neither a call nor a problem nor a target")


def is_value(value: object) -> bool:
    """Whether a dimension of a call may have this value."""
    return value is None or isinstance(value, (bool, int, str))
