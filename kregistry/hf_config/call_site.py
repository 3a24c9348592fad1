"""CallSite: one matrix product of a model on one rank, with the engine's verdict on it."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from attrs import frozen

from kregistry.kernel_type import Value


class LayerVerdict(enum.Enum):
    """What an engine does with a layer."""

    DEEP_GEMM = "goes to DeepGEMM"
    OTHER_BACKEND = "goes to another backend"
    NOT_QUANTIZED = "is not quantised"
    FUSED = "is part of another layer"
    NOT_REACHED = "is not called with these options"
    DOES_NOT_LOAD = "does not load"
    NO_KERNEL_TYPE = "goes to DeepGEMM, but no installed plugin describes it"

    def of(self, count: int) -> str:
        """``1 goes to DeepGEMM``, ``6 go to DeepGEMM``."""
        verb, _, rest = self.value.partition(" ")
        return f"{count} {verb if count == 1 else _PLURALS[verb]} {rest}"


_PLURALS = {"goes": "go", "is": "are", "does": "do"}


@frozen
class Rows:
    """The range of the run-time dimension, and the rule behind it.

    Attributes:
        stop: the largest value, included.
        rule: the origin of ``stop``, as text.
        start: the first value; ``None`` for the default of the kernel type.
        step: the distance between values; ``None`` for the default of the kernel type.
    """

    stop: int
    rule: str
    start: int | None = None
    step: int | None = None


@frozen
class CallSite:
    """A layer after the engine's rules.

    Attributes:
        label: the name of the layer in the model's code.
        role: the part of the model and how it is split, as text.
        kernel_type: the kernel type that it calls or would call; empty if there is none.
        shape: the dimensions of the kernel type.
        formula: the origin of the dimensions, with symbols and numbers.
        verdict: what the engine does with the layer.
        reason: the reason of the verdict; if the layer goes to DeepGEMM, a note, which may be empty.
        rows: the range; ``None`` if nothing is planned.
        rule: the engine's rule behind the verdict in one word, for programs: ``block``, ``alignment``, ``runner`` ...
    """

    label: str
    role: str
    kernel_type: str
    shape: Mapping[str, Value]
    formula: str
    verdict: LayerVerdict
    reason: str = ""
    rows: Rows | None = None
    rule: str = ""
