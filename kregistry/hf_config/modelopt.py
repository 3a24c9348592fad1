"""Checkpoints of NVIDIA's Model Optimizer: ``quant_algo``, in config.json or in hf_quant_config.json beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kregistry.bounded_input import parse_json, read_input_text
from kregistry.errors import InputError, quoted

NAME = "modelopt"
MIXED = "MIXED_PRECISION"
#: Algorithms of FP8 weights in blocks of 128x128 (SGLang's layers/quantization/modelopt_quant.py, _BLOCK_FP8_ALGOS).
BLOCKS = ("FP8_PB_WO", "FP8_BLOCK_SCALES")
_BESIDE = "hf_quant_config.json"


def read_beside(config: Path) -> object:
    """The content of hf_quant_config.json in the directory of a config.json; ``None`` if there is none.

    Raises:
        InputError: it is not JSON.
        StorageError: it cannot be read.
    """
    path = config.absolute().parent / _BESIDE
    if not path.exists():
        return None
    try:
        return parse_json(read_input_text(path))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from error


def is_modelopt(data: Mapping[str, Any]) -> bool:
    """Whether a quantisation is one of Model Optimizer, in either of its two forms."""
    method = data.get("quant_method")
    named = isinstance(method, str) and method.startswith(NAME)
    return named or (method is None and ("quant_algo" in data or isinstance(data.get("quantization"), dict)))


def settings(data: Mapping[str, Any], file: str) -> Mapping[str, Any]:
    """The object that has ``quant_algo``: the data, or its ``quantization``.

    Raises:
        InputError: ``quantization`` is not an object.
    """
    inner = data.get("quantization", data)
    if not isinstance(inner, dict):
        raise InputError(f"{file}: quantization: expected an object, got {type(inner).__name__}")
    return inner


def algorithm(data: Mapping[str, Any], file: str) -> str:
    """``quant_algo`` in capitals.

    Raises:
        InputError: it is missing, or no word.
    """
    found = data.get("quant_algo")
    if not isinstance(found, str) or not found:
        raise InputError(f'{file}: quant_algo: expected a name such as "NVFP4", got {quoted(found)}')
    return found.upper()


def algorithms(data: Mapping[str, Any], file: str) -> dict[str, str]:
    """Module -> algorithm of a checkpoint of mixed precision.

    Raises:
        InputError: ``quantized_layers`` is malformed.
    """
    layers = data.get("quantized_layers")
    if not isinstance(layers, dict) or not all(isinstance(each, dict) for each in layers.values()):
        raise InputError(f"{file}: quantized_layers: expected an object of objects, one for each module")
    return {name: algorithm(each, f"{file}: quantized_layers.{name}") for name, each in layers.items()}
