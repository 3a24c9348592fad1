"""The form of a return value as text: dtype and sizes of each tensor, and no data."""

from __future__ import annotations


def form_of(value: object) -> str:
    """``"None"``, ``"float32[17, 300]"``, ``"(int32[4], None)"``, or the name of another type."""
    import torch

    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(form_of, value))})"
    return "None" if value is None else type(value).__name__
