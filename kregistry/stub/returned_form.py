"""The form of a return value as text: dtype and sizes of each tensor, and no data."""

from __future__ import annotations

import re

_TENSOR = re.compile(r"(\w+)\[([\d, ]*)\]")


def form_of(value: object) -> str:
    """``"None"``, ``"float32[17, 300]"``, ``"(int32[4], None)"``, or the name of another type."""
    import torch

    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(form_of, value))})"
    return "None" if value is None else type(value).__name__


def zeros_of(form: str) -> object:
    """A value of a form: tensors of zeros on the CPU, tuples and ``None``.

    Raises:
        ValueError: the form has an object of another type.
    """
    value, rest = _parsed(form)
    if rest:
        raise ValueError(f"not the form of a return value: {form}")
    return value


def _parsed(text: str) -> tuple[object, str]:
    """The value at the start of a text, and what follows it."""
    import torch

    if text.startswith("("):
        items, rest = list[object](), text[1:]
        while not rest.startswith(")"):
            item, rest = _parsed(rest.removeprefix(", "))
            items.append(item)
        return tuple(items), rest[1:]
    if text.startswith("None"):
        return None, text[len("None") :]
    tensor = _TENSOR.match(text)
    if tensor is None:
        raise ValueError(f"no tensor: {text}")
    sizes = [int(size) for size in tensor[2].split(", ") if size]
    return torch.zeros(sizes, dtype=getattr(torch, tensor[1])), text[tensor.end() :]
