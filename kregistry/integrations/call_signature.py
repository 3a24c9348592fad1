"""What a call of DeepGEMM is read from, as a key: calls with equal keys are read alike.

Reading a call takes several times as long as DeepGEMM's own call, since several kernel types look at it. An engine
makes thousands of calls before it is ready, most of them with sizes that came before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kregistry.deep_gemm.settings import values_in_force
from kregistry.kernel_type import Setting

#: Values that are equal exactly if they are the same to a kernel type, and their types.
_PLAIN = (int, bool, float, str, type(None))


def call_signature(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], settings: Iterable[Setting]
) -> tuple[object, ...] | None:
    """A key of a call's sizes, types, layout and settings.

    Which tensors share their memory belongs to it, since a kernel type may look at it (an output that is its own
    addend). Contents of tensors on the device do not: nothing may read them while an engine runs.

    Args:
        settings: those that a kernel type of this function may read.

    Returns:
        ``None`` if the call has an argument of another kind, such as a tensor of the host, whose content may be read.
    """
    pointers: list[int] = []
    try:
        values = [_key(each, pointers) for each in args]
        values += [(name, _key(value, pointers)) for name, value in kwargs.items()]
        shared = tuple(map(pointers.index, pointers))
        signature = (*values, shared, *values_in_force(settings))
        hash(signature)
    except Exception:  # it is read as any other call, which reports what is wrong with it
        return None
    return signature


def _key(value: Any, pointers: list[int]) -> object:
    if type(value) is int:
        return value
    if isinstance(value, (tuple, list)):
        return tuple([_key(each, pointers) for each in value])
    if isinstance(value, _PLAIN):
        return type(value), value
    import torch

    if isinstance(value, torch.Tensor):
        if not value.is_cuda:
            raise TypeError("the content of a tensor of the host may be read")
        pointers.append(value.data_ptr())
        return value.dtype, value.shape, value.stride()
    if isinstance(value, torch.dtype):
        return value
    raise TypeError(f"a {type(value).__name__}")
