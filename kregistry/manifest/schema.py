"""The JSON Schema of manifests, for editors, generated from the format and the given kernel types."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from attrs import NOTHING, fields

from kregistry.kernel_type import Choice, Dimension, Flag, KernelType, Size
from kregistry.manifest.format import ENGINES, KernelSource, ManifestSource, ModelSource, RangeSource, TargetSource
from kregistry.target import TARGETS

_RANGE = {"$ref": "#/definitions/range"}
_TYPES: dict[Any, dict[str, Any]] = {int: {"type": "integer"}, str: {"type": "string"}}


def json_schema(kernel_types: Iterable[KernelType]) -> dict[str, Any]:
    """The schema in draft 7, which the YAML language server supports."""
    kinds = sorted(kernel_types, key=lambda kernel_type: kernel_type.name)
    runs = sorted({kind.run_dimension.name for kind in kinds})
    root = _object(ManifestSource)
    root["properties"].update(
        version={"const": 1, "description": _meaning(ManifestSource, "version")},
        target={
            "description": _meaning(ManifestSource, "target"),
            "anyOf": [{"enum": [*TARGETS, "detect"]}, {"$ref": "#/definitions/target"}],
        },
        engine={"description": _meaning(ManifestSource, "engine"), "enum": [*ENGINES]},
        defaults=_mapping(_meaning(ManifestSource, "defaults"), dict.fromkeys(runs, _RANGE)),
        providers={
            "description": _meaning(ManifestSource, "providers"),
            "type": "object",
            "additionalProperties": {"type": "string"},
        },
        models={
            "description": _meaning(ManifestSource, "models"),
            "type": "object",
            "additionalProperties": {"$ref": "#/definitions/model"},
        },
    )
    root["patternProperties"] = {"^x-": {"description": "ignored: a place for YAML anchors"}}
    model = _object(ModelSource)
    model["properties"]["kernels"].update(
        type="array", items={"anyOf": [{"$ref": f"#/definitions/{kind.name}"} for kind in kinds]}
    )
    definitions = {"range": _object(RangeSource), "target": _object(TargetSource), "model": model}
    shared = _Shared()
    definitions.update({kind.name: _kernel(kind, shared) for kind in kinds})
    definitions.update(shared.definitions)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "kregistry manifest (kernels.yaml)",
        **root,
        "definitions": definitions,
    }


class _Shared:
    """Parts that several kernel types have in common: each is written once, and referred to.

    Attributes:
        definitions: by name.
    """

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self._names: dict[str, str] = {}

    def reference(self, kind: str, part: dict[str, Any]) -> dict[str, Any]:
        """A reference to a part; equal parts have the same."""
        text = json.dumps(part, sort_keys=True)
        if text not in self._names:
            self._names[text] = name = f"{kind}-{len(self._names) + 1}"
            self.definitions[name] = part
        return {"$ref": f"#/definitions/{self._names[text]}"}


def _meaning(cls: type, name: str) -> str:
    return next(str(each.metadata["meaning"]) for each in fields(cls) if each.name == name)


def _mapping(description: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _object(cls: type) -> dict[str, Any]:
    """A class of the format as a schema; fields of type Any are left to the caller."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for attribute in fields(cls):
        words = str(attribute.type)  # annotations of these modules are strings
        kind = int if "int" in words else str if "str" in words and "dict" not in words else None
        limits = {key: value for key, value in attribute.metadata.items() if key == "minimum"}
        properties[attribute.name] = {"description": attribute.metadata["meaning"], **_TYPES.get(kind, {}), **limits}
        if attribute.default is NOTHING:
            required.append(attribute.name)
    result: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**result, "required": required} if required else result


def _kernel(kernel_type: KernelType, shared: _Shared) -> dict[str, Any]:
    shape = _mapping(
        "dimensions; lists of values fan out",
        {each.name: _dimension(each, shared) for each in kernel_type.all_dimensions},
    )
    required = [each.name for each in kernel_type.all_dimensions if each.required]
    if required:
        shape["required"] = required
    run = kernel_type.run_dimension
    shape = shared.reference("shape", shape)
    unit = f" ({run.unit})" if run.unit else ""
    return {
        "type": "object",
        "description": kernel_type.summary,
        "additionalProperties": False,
        "required": ["type", "shape"],
        "properties": {
            "type": {"const": kernel_type.name, "description": kernel_type.summary},
            "label": {"type": "string", "description": _meaning(KernelSource, "label")},
            "shape": {"anyOf": [shape, {"type": "array", "items": shape, "minItems": 1}]},
            run.name: {"description": f"{run.meaning}{unit}", "allOf": [_RANGE]},
        },
    }


def _dimension(dimension: Dimension, shared: _Shared) -> dict[str, Any]:
    values: list[dict[str, Any]] = []
    words: list[Any] = []
    if isinstance(dimension, Size):
        number: dict[str, Any] = {"type": "integer", "minimum": dimension.minimum}
        values.append({**number, "multipleOf": dimension.multiple_of} if dimension.multiple_of > 1 else number)
        words += [*dimension.policies, *(("none", None) if dimension.optional else ())]
    elif isinstance(dimension, Choice):
        words += dimension.choices
    elif isinstance(dimension, Flag):
        words += (True, False)
    if words:
        values.append({"enum": words})
    one = shared.reference("value", values[0] if len(values) == 1 else {"anyOf": values})
    unit = f" ({dimension.unit})" if dimension.unit else ""
    part = {
        "description": f"{dimension.meaning}{unit}",
        "anyOf": [one, {"type": "array", "items": one, "minItems": 1}],
    }
    return shared.reference(dimension.name, part)
