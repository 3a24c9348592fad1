"""One matrix product of a model on one rank, and what becomes of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from attrs import frozen

from kregistry.kernel_type import Value


class Verdict(enum.Enum):
    """What an engine does with a layer."""

    DEEP_GEMM = "goes to DeepGEMM"
    OTHER_BACKEND = "goes to another backend"
    NOT_QUANTIZED = "is not quantised"
    FUSED = "is part of another layer"
    DOES_NOT_LOAD = "does not load"
    NO_KERNEL_TYPE = "goes to DeepGEMM, but no installed plugin describes it"


@frozen
class Rows:
    """The range of the run-time dimension, and the rule that it follows.

    Attributes:
        stop: the largest value, included.
        rule: where ``stop`` comes from, for people.
        start: the first value; ``None``: the kernel type's own default, as for ``step``.
    """

    stop: int
    rule: str
    start: int | None = None
    step: int | None = None


@frozen
class CallSite:
    """A layer after the engine's rules.

    Attributes:
        label: what the model's code calls it.
        role: part of the model and how it is cut, for people.
        kernel_type: the kernel type that it calls or would call; empty where there is none.
        shape: dimensions of the kernel type.
        formula: where the dimensions come from, with symbols and numbers.
        verdict: what becomes of it.
        reason: why, unless it goes to DeepGEMM; else a note, may be empty.
        rows: the range; ``None`` where nothing is planned.
        rule: the engine's rule behind the verdict in one word, for machines: ``block``, ``alignment``, ``runner`` ...
    """

    label: str
    role: str
    kernel_type: str
    shape: Mapping[str, Value]
    formula: str
    verdict: Verdict
    reason: str = ""
    rows: Rows | None = None
    rule: str = ""
