"""The call of a DeepGEMM function, read from the local variables of its frame."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from kregistry.errors import MissingRequirement
from kregistry.recording.recognition import Recognised, known_by, recognise
from kregistry.registry import Registry


def read_call(registry: Registry, function: str, local: Mapping[str, Any]) -> Recognised | None:
    """The kernel type, shape and run-time value of a call; ``None`` if no kernel type can read it.

    A wrapper (``*args, **kwargs``, as in vLLM) passes on what it was given. DeepGEMM's own Python functions unpack
    ``(data, scales)`` pairs, some into their own parameters: the pairs are put together again.

    Args:
        function: name of the function.
        local: local variables of its frame.
    """
    if isinstance(local.get("args"), tuple) and isinstance(local.get("kwargs"), dict):
        return recognise(registry, function, local["args"], local["kwargs"])
    pairs = {
        name: (value, local[f"{name}_sf"]) if f"{name}_sf" in local and not isinstance(value, (tuple, list)) else value
        for name, value in local.items()
    }
    for kernel_type in known_by(registry, function):
        try:
            parameters = inspect.signature(kernel_type.function()).parameters
        except (ValueError, MissingRequirement):  # a function of C++ has no frame, and so no locals either
            continue
        return recognise(registry, function, (), {name: pairs[name] for name in parameters if name in pairs})
    return None
