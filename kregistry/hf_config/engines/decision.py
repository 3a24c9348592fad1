"""Decision: what an engine does with one layer; and the checks of a weight's size that lead to one."""

from __future__ import annotations

from attrs import frozen

from kregistry.hf_config.call_site import LayerVerdict
from kregistry.hf_config.model_family import Linear


@frozen
class Decision:
    """An engine's verdict on one layer; ``rule`` names the rule, ``reason`` explains it."""

    verdict: LayerVerdict
    reason: str = ""
    rule: str = ""


GOES = Decision(LayerVerdict.DEEP_GEMM)


def aligned(n: int, k: int, engine: str, rows: int = 64, columns: int = 128) -> Decision | None:
    """The decision on a weight that DeepGEMM cannot take because of its size; ``None`` if it can."""
    if n % rows or k % columns:
        fault = f"n = {n} is no multiple of {rows}" if n % rows else f"k = {k} is no multiple of {columns}"
        return Decision(LayerVerdict.OTHER_BACKEND, f"{fault}: {engine} falls back to another kernel", "alignment")
    return None


def row_fault(layer: Linear, k: int, ways: int, block: int) -> str:
    """The fault of a row-parallel weight whose columns on a rank are no whole blocks; empty if there is none."""
    if layer.split == "row" and ways > 1 and k % block:
        return f"k = {k} of this rank is no multiple of the block's {block} columns"
    return ""


def column_fault(parts: tuple[int, ...], block: int) -> str:
    """The fault of the first part that is no whole number of blocks; empty if there is none."""
    for part in parts:
        if part % block:
            return f"{part} output rows of this rank are no multiple of the block's {block}"
    return ""
