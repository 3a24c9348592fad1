"""ModelConfig: the values of a Hugging Face ``config.json`` that the kernels of a model depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from kregistry.bounded_input import parse_json, read_input_text
from kregistry.errors import InputError, shorten
from kregistry.hf_config import modelopt
from kregistry.hf_config.formula import evaluate
from kregistry.hf_config.model_family import Family, Symbol
from kregistry.hf_config.quantization import Quantization, read_quantization

#: A larger value is a mistake: no real dimension exceeds it, and products would overflow DeepGEMM's integers.
_LARGEST = (1 << 31) - 1


@frozen
class ModelConfig:
    """The content of a config.json.

    Attributes:
        file: its path, for messages.
        architecture: the first of ``architectures``.
        values: the keys of the language model (``text_config`` of a multimodal model, over the top level).
        quantization: the quantisation of the weights.
    """

    file: str
    architecture: str
    values: Mapping[str, Any]
    quantization: Quantization

    def symbols(self, family: Family) -> dict[str, int]:
        """The numbers that a family's formulas use.

        Raises:
            InputError: a key is missing, has another type, is out of range, or has a value that the family excludes.
        """
        for key, allowed in family.fixed.items():
            if key in self.values and self.values[key] not in allowed:
                raise InputError(
                    f"{self.file}: {key} is {_show(self.values[key])}, but family {family.name!r} covers only "
                    f"{' or '.join(_show(value) for value in allowed)}",
                    "its shapes are unknown: write the manifest by hand, or add a family: kregistry docs models",
                )
        found: dict[str, int] = {}
        for symbol in family.symbols:
            found[symbol.name] = self._number(symbol, family, found)
        return found

    def _number(self, symbol: Symbol, family: Family, earlier: Mapping[str, int]) -> int:
        for key in symbol.keys:
            present, value = _look_up(self.values, key)
            if value is not None:
                return self._read(symbol, key, value)
            if symbol.null and present:
                return evaluate(symbol.null, earlier)
        if symbol.default is not None:
            return symbol.default
        raise InputError(
            f"{self.file}: {' or '.join(symbol.keys)} is missing, and family {family.name!r} needs it",
            "use the config.json that lies beside the model's weights, unchanged",
        )

    def _read(self, symbol: Symbol, key: str, value: object) -> int:
        if symbol.count is not None:
            if isinstance(value, list) and all(type(each) is int for each in value):
                return value.count(symbol.count)
            raise InputError(f"{self.file}: {key}: expected a list of integers, got {_show(value)}")
        if symbol.length:
            entries = value.split(",") if isinstance(value, str) else value
            if isinstance(entries, list):
                return len(entries)
            raise InputError(f"{self.file}: {key}: expected a list, got {_show(value)}")
        if symbol.flag:
            if isinstance(value, bool):
                return int(value)
            raise InputError(f"{self.file}: {key}: expected true or false, got {_show(value)}")
        if symbol.whole_float and isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is int and symbol.minimum <= value <= _LARGEST:
            return value
        expected = f"an integer from {symbol.minimum} to {_LARGEST}"
        raise InputError(f"{self.file}: {key}: expected {expected}, got {_show(value)}")


def read_config(path: str | Path) -> ModelConfig:
    """Read a config.json.

    Raises:
        StorageError: the file cannot be read.
        InputError: there is no such file, or it is not a JSON object, names no architecture, or its quantization_config
            is malformed.
    """
    text = read_input_text(path)
    try:
        data = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from error
    return parse_config(data, str(path), modelopt.read_beside(Path(path)))


def parse_config(data: object, file: str = "config.json", beside: object = None) -> ModelConfig:
    """Like :func:`read_config`, for parsed JSON.

    Args:
        data: the parsed JSON.
        file: its name in messages.
        beside: the parsed content of hf_quant_config.json.

    Raises:
        InputError: it is not a JSON object, names no architecture, or its quantization_config cannot be read.
    """
    if not isinstance(data, dict):
        raise InputError(f"{file}: expected a JSON object, got {_show(data)}")
    text = data.get("text_config")
    values = {**data, **text} if isinstance(text, dict) else data
    quantization = data.get("quantization_config", values.get("quantization_config"))
    if quantization is None and beside is not None:
        quantization = beside
    layers = values.get("num_hidden_layers")
    return ModelConfig(
        file,
        _architecture(data, file),
        values,
        read_quantization(quantization, layers if type(layers) is int else 0, file),
    )


def _look_up(values: Mapping[str, Any], key: str) -> tuple[bool, Any]:
    """Whether a key is there, and its value; ``outer.inner`` is a key of an object."""
    outer, dot, inner = key.partition(".")
    if not dot:
        return key in values, values.get(key)
    found = values.get(outer)
    return _look_up(found, inner) if isinstance(found, dict) else (False, None)


def _architecture(data: Mapping[str, Any], file: str) -> str:
    """The architecture of the top level, by which an engine picks the model class."""
    architectures = data.get("architectures")
    if isinstance(architectures, list) and architectures and isinstance(architectures[0], str):
        return architectures[0]
    raise InputError(
        f'{file}: expected "architectures": ["NameForCausalLM"], got {_show(architectures)}',
        "use the config.json that lies beside the model's weights, unchanged",
    )


def _show(value: object) -> str:
    """A value as JSON, cut to a readable length."""
    return shorten(json.dumps(value, default=str), 80)
