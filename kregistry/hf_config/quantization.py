"""Quantization: reads ``quantization_config``. Only weights in FP8 blocks reach DeepGEMM's FP8 kernels."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from kregistry.errors import InputError, quoted
from kregistry.hf_config import modelopt
from kregistry.hf_config.bounded_regex import MAX_PATTERN, compile_bounded

#: Rows and columns of a weight block in DeepGEMM's FP8 kernels.
BLOCK = (128, 128)
#: Every layer of a model is compared with each of them.
_MOST_PATTERNS = 20_000


@frozen
class Quantization:
    """The quantisation of a checkpoint.

    Attributes:
        method: ``quant_method``; empty for unquantised weights.
        block: rows and columns of a weight block; ``None`` unless the weights are FP8 in blocks.
        scheme: a description: ``"FP8 in blocks of 128x128"``, ``"FP8 per channel"`` ...
        skipped: patterns of modules that stay unquantised.
        layers: ``num_hidden_layers``, to decide whether patterns cover every layer.
        ue8m0: whether ``scale_fmt`` says that scales are powers of two.
        mixed: name of a module -> its algorithm, for a checkpoint of mixed precision; others stay unquantised.
    """

    method: str
    block: tuple[int, int] | None
    scheme: str
    skipped: tuple[str, ...] = ()
    layers: int = 0
    ue8m0: bool = False
    mixed: Mapping[str, str] = field(factory=dict)

    def of(self, weights: tuple[str, ...]) -> Quantization:
        """The quantisation of one layer, by the names of its weights below the layer."""
        if not self.mixed:
            return self
        found = {algorithm for name, algorithm in self.mixed.items() if any(_is_below(name, each) for each in weights)}
        if len(found) != 1:
            return Quantization("", None, "unquantised", (), self.layers)
        [algorithm] = found
        block = BLOCK if algorithm in modelopt.BLOCKS else None
        return Quantization(self.method, block, f"{algorithm} ({self.method})", (), self.layers)

    @property
    def draft_in_bf16(self) -> bool:
        """Whether the draft layer behind the model's layers stays in BF16, while the model is quantised."""
        draft = (f"model.layers.{self.layers}.mlp.experts.0.gate_proj", "mtp.layers.0.mlp.experts.0.gate_proj")
        return self.quantized and any(
            compile_bounded(pattern[3:]).match(name)
            if pattern.startswith("re:")
            else any(fnmatch.fnmatchcase(name, each) for each in (pattern, f"{pattern}.*"))
            for pattern in self.skipped
            for name in draft
        )

    @property
    def quantized(self) -> bool:
        return bool(self.method)

    def skips(self, weights: tuple[str, ...]) -> str:
        """The pattern that keeps a layer's weights unquantised in every layer; empty if there is none.

        Patterns that name one layer each count only if together they cover all layers, because the other layers still
        call the kernel.
        """
        for weight in weights:
            found: set[int] = set()
            for pattern in self.skipped:
                where = _matches(pattern, weight)
                if where is None:
                    return pattern
                if where >= 0:
                    found.add(where)
            if self.layers and len(found) >= self.layers:
                return f"{weight} of all {self.layers} layers"
        return ""


def read_quantization(data: object, layers: int, file: str) -> Quantization:
    """
    Raises:
        InputError: ``quantization_config`` is malformed.
    """
    if data is None:
        return Quantization("", None, "unquantised (no quantization_config)", (), layers)
    if not isinstance(data, dict):
        raise InputError(f"{file}: quantization_config: expected an object, got {type(data).__name__}")
    if modelopt.is_modelopt(data):
        return _modelopt(modelopt.settings(data, file), layers, file)
    method = data.get("quant_method")
    if not isinstance(method, str) or not method:
        raise InputError(
            f'{file}: quantization_config.quant_method: expected a name such as "fp8", got {quoted(method)}'
        )
    skipped = _skipped(data, file)
    if method == "fp8":
        block = _block(data.get("weight_block_size"), file, "weight_block_size")
        scheme = f"FP8 in blocks of {block[0]}x{block[1]}" if block else "FP8 per tensor (no weight_block_size)"
        if block and data.get("activation_scheme", "dynamic") != "dynamic":
            raise InputError(
                f"{file}: quantization_config.activation_scheme is {quoted(data['activation_scheme'])}: "
                "block-quantised weights need dynamic activation scales"
            )
        return Quantization(method, block, scheme, skipped, layers, data.get("scale_fmt") == "ue8m0")
    if method == "compressed-tensors":
        return Quantization(method, *_compressed_tensors(data, file), skipped, layers)
    return Quantization(method, None, f"quantised by {method}", skipped, layers)


def _modelopt(data: Mapping[str, Any], layers: int, file: str) -> Quantization:
    """A checkpoint of NVIDIA's Model Optimizer: one algorithm for all modules, or one for each."""
    algorithm = modelopt.algorithm(data, file)
    skipped = _skipped(data, file)
    if algorithm == modelopt.MIXED:
        return Quantization(modelopt.NAME, None, "mixed", skipped, layers, mixed=modelopt.algorithms(data, file))
    return Quantization(modelopt.NAME, None, f"{algorithm} ({modelopt.NAME})", skipped, layers)


def _is_below(module: str, weight: str) -> bool:
    """Whether a module of a checkpoint is a weight, or lies in it: ``layers.3.mlp.experts.0``, ``mlp.experts``."""
    return f".{weight}." in f".{module}."


def _compressed_tensors(data: Mapping[str, Any], file: str) -> tuple[tuple[int, int] | None, str]:
    groups = data.get("config_groups")
    if not isinstance(groups, dict) or not groups:
        raise InputError(f"{file}: quantization_config.config_groups: expected an object with at least one group")
    strategies: set[str] = set()
    block: tuple[int, int] | None = None
    for name, group in groups.items():
        weights = group.get("weights") if isinstance(group, dict) else None
        if not isinstance(weights, dict):
            raise InputError(f"{file}: quantization_config.config_groups.{name}.weights: expected an object")
        strategy = f"{weights.get('type')}{weights.get('num_bits')} by {weights.get('strategy')}"
        strategies.add(strategy)
        if strategy == "float8 by block":
            block = _block(weights.get("block_structure"), file, f"config_groups.{name}.weights.block_structure")
    scheme = f"compressed-tensors, {', '.join(sorted(strategies))}"
    return (block if len(strategies) == 1 else None), scheme


def _block(value: object, file: str, key: str) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and all(type(each) is int and each >= 1 for each in value):
        return (value[0], value[1])
    raise InputError(
        f"{file}: quantization_config.{key}: expected two integers >= 1, e.g. [128, 128], got {quoted(value)}"
    )


def _skipped(data: Mapping[str, Any], file: str) -> tuple[str, ...]:
    patterns: list[str] = []
    for key in ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules"):
        value = data.get(key)
        if value is None:
            continue
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise InputError(f"{file}: quantization_config.{key}: expected a list of module names")
        patterns += value
    if len(patterns) > _MOST_PATTERNS or any(len(each) > MAX_PATTERN for each in patterns):
        limit = f"at most {_MOST_PATTERNS} module names, of at most {MAX_PATTERN} characters"
        raise InputError(f"{file}: quantization_config: expected {limit}")
    for pattern in patterns:
        if pattern.startswith("re:"):
            try:
                compile_bounded(pattern[3:])
            except ValueError as error:
                raise InputError(f"{file}: quantization_config: {quoted(pattern)} {error}") from None
    return tuple(dict.fromkeys(patterns))


def _matches(pattern: str, weight: str) -> int | None:
    """Where a pattern keeps a weight unquantised: ``None`` in every layer, >= 0 in that layer, -1 in no layer.

    Whole path segments are compared, as SGLang's ``_module_path_match`` does: ``gate`` is not ``gate_proj``.
    """
    if pattern.startswith("re:"):
        full = f"model.layers.{{}}.{weight}"
        expression = compile_bounded(pattern[3:])
        hits = [expression.match(full.format(layer)) is not None for layer in (0, 1)]
        return None if all(hits) else 0 if hits[0] else -1
    wanted = pattern.split(".")
    path = ["*layer*", *weight.split(".")]
    numbered = next((int(step) for step in wanted if step.isdecimal() and step.isascii() and len(step) < 10), None)
    tail = [step for step in wanted if step not in ("model", "language_model", "layers", "N", "*")]
    tail = [step for step in tail if not (step.isdecimal() and step.isascii())]
    if not tail:  # "model.layers.3" keeps a whole layer, "model" or "*" everything
        return numbered if numbered is not None else None if wanted != [""] else -1
    for start in range(1, len(path) - len(tail) + 1):
        if all(fnmatch.fnmatchcase(step, part) for step, part in zip(path[start:], tail)):
            return numbered
    return -1
