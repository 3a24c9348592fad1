"""The form of a return value as text: dtype, sizes and strides of each tensor, and no data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_TENSOR = re.compile(r"(\w+)\[([\d, ]*)\](?:/\[([\d, ]*)\] of (\d+))?")
_LAYOUT = re.compile(r"/\[[\d, ]*\] of \d+")


def form_of(value: object) -> str:
    """``"None"``, ``"float32[17, 300]"``, ``"(int32[4], None)"``, or the name of another type.

    ``"float32[17, 300]/[512, 1] of 8704"`` has these strides; 8704 elements of storage follow its beginning.
    """
    import torch

    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{_listed(value.shape)}{_layout(value)}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(form_of, value))})"
    return "None" if value is None else type(value).__name__


def _layout(tensor: torch.Tensor) -> str:
    held = tensor.untyped_storage().nbytes() // tensor.element_size() - tensor.storage_offset()
    if tensor.is_contiguous() and held == tensor.numel():
        return ""
    return f"/{_listed(tensor.stride())} of {held}"


def _listed(numbers: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, numbers))}]"


def sizes_only(form: str) -> str:
    """The form without strides, which an empty tensor need not share."""
    return _LAYOUT.sub("", form)


def zeros_of(form: str, between: int = 0) -> object:
    """A value of a form: tensors of zeros on the CPU, tuples and ``None``.

    Args:
        between: each byte of a storage that is no element of the tensor.

    Raises:
        ValueError: the form has an object of another type.
    """
    value, rest = _parsed(form, between)
    if rest:
        raise ValueError(f"not the form of a return value: {form}")
    return value


def _parsed(text: str, between: int) -> tuple[object, str]:
    """The value at the start of a text, and what follows it."""
    if text.startswith("("):
        items, rest = list[object](), text[1:]
        while not rest.startswith(")"):
            item, rest = _parsed(rest.removeprefix(", "), between)
            items.append(item)
        return tuple(items), rest[1:]
    if text.startswith("None"):
        return None, text[len("None") :]
    tensor = _TENSOR.match(text)
    if tensor is None:
        raise ValueError(f"no tensor: {text}")
    return _zeros(tensor, between), text[tensor.end() :]


def _zeros(form: re.Match[str], between: int) -> torch.Tensor:
    import torch

    sizes, dtype = _numbers(form[2]), getattr(torch, form[1])
    if form[4] is None:
        return torch.zeros(sizes, dtype=dtype)
    held = torch.full((int(form[4]) * dtype.itemsize,), between, dtype=torch.uint8).view(dtype)
    return held.as_strided(sizes, _numbers(form[3])).zero_()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(", ") if number]
