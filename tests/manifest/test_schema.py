"""The JSON Schema: fresh, valid, and of one mind with the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kregistry.cli.example import EXAMPLE
from kregistry.manifest.schema import json_schema
from kregistry.registry import Registry
from manifests import problems, read, with_kernels
from tests.docs.blocks import blocks

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "kernels.schema.json"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    registry = Registry()
    return json_schema(registry[name] for name in registry.names())


def test_the_committed_schema_is_fresh(schema: dict[str, Any]) -> None:
    fresh = json.loads(COMMITTED.read_text()) == schema
    assert fresh, "kernels.schema.json is stale; regenerate it: kregistry schema > kernels.schema.json"


def test_it_is_valid_draft_7(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(schema)


def followed(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """A part, or what it refers to."""
    name = part.get("$ref", "").removeprefix("#/definitions/")
    return schema["definitions"][name] if name else part


def accepts(schema: dict[str, Any], text: str) -> bool:
    return jsonschema.Draft7Validator(schema).is_valid(yaml.safe_load(text))


def test_it_accepts_the_shipped_manifest(schema: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(schema).validate(yaml.safe_load((ROOT / "kernels.yaml").read_text()))


GEMM = "{type: fp8_gemm_nt, shape: {n: 16, k: 128}, m: {stop: 8}}"


@pytest.mark.parametrize(
    "text",
    [
        with_kernels(GEMM),
        with_kernels("{type: fp8_gemm_nt, shape: [{n: [16, 24], k: 128}, {n: 8, k: [16]}], m: {stop: 8}}"),
        with_kernels(
            "{type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 64, num_splits: [none, 3, occupancy]}, m: {stop: 8}}"
        ),
        "version: 1\ntarget: {name: x, base: h100}\nx-a: 3\nmodels: {}\n",
        "version: 1\ntarget: h100\ndefaults: {m: {stop: 3}}\nproviders: {fp8_gemm_nt: fp8_gemm}\nmodels: {}\n",
    ],
)
def test_it_accepts_what_the_reader_accepts(schema: dict[str, Any], text: str) -> None:
    read(text)
    assert accepts(schema, text)


@pytest.mark.parametrize(
    "text",
    [
        "models: {}\ntarget: h100\n",
        "version: 2\ntarget: h100\nmodels: {}\n",
        "version: 1\ntarget: h10\nmodels: {}\n",
        "version: 1\ntarget: {base: h100}\nmodels: {}\n",
        "version: 1\ntarget: h100\nmodels: {}\nmodel: {}\n",
        "version: 1\ntarget: h100\nmodels: {a: {}}\n",
        "version: 1\ntarget: h100\ndefaults: {mm: {stop: 1}}\nmodels: {}\n",
        "version: 1\ntarget: h100\nproviders: {fp8_gemm_nt: 3}\nmodels: {}\n",
        with_kernels("{type: nope, shape: {n: 16, k: 128}, m: {stop: 8}}"),
        with_kernels("{shape: {n: 16, k: 128}, m: {stop: 8}}"),
        with_kernels("{type: fp8_gemm_nt, m: {stop: 8}}"),
        with_kernels("{type: fp8_gemm_nt, shape: {n: 16}, m: {stop: 8}}"),
        with_kernels("{type: fp8_gemm_nt, shape: {n: 17, k: 128}, m: {stop: 8}}"),
        with_kernels("{type: fp8_gemm_nt, shape: {n: 16, k: 128, q: 1}, m: {stop: 8}}"),
        with_kernels("{type: fp8_gemm_nt, shape: {n: true, k: 128}, m: {stop: 8}}"),
        with_kernels("{type: fp8_gemm_nt, shape: {n: [], k: 128}, m: {stop: 8}}"),
        with_kernels("{type: fp8_gemm_nt, shape: [], m: {stop: 8}}"),
        with_kernels("{type: fp8_gemm_nt, shape: {n: 16, k: 128}, expected_m: {stop: 8}}"),
        with_kernels("{type: fp8_gemm_nt, shape: {n: 16, k: 128}, m: {stop: 0}}"),
        with_kernels("{type: fp8_gemm_nt, shape: {n: 16, k: 128}, m: {stop: 8, step: 0}}"),
        with_kernels("{type: fp8_gemm_nt, shape: {n: 16, k: 128}, m: {stop: eight}}"),
        with_kernels("{type: fp8_gemm_nt, shape: {n: 16, k: 128}, m: 8}"),
    ],
)
def test_it_rejects_what_the_reader_rejects(schema: dict[str, Any], text: str) -> None:
    assert problems(text)
    assert not accepts(schema, text)


def test_every_dimension_and_range_is_described(schema: dict[str, Any]) -> None:
    registry = Registry()
    for name in registry.names():
        kernel_type, definition = registry[name], schema["definitions"][name]["properties"]
        shape = followed(schema, definition["shape"]["anyOf"][0])["properties"]
        assert list(shape) == [each.name for each in kernel_type.all_dimensions]
        for each in kernel_type.all_dimensions:
            description = followed(schema, shape[each.name])["description"]
            assert description.startswith(each.meaning) and description.endswith(f"({each.unit})" if each.unit else "")
        run = definition[kernel_type.run_dimension.name]
        assert run["allOf"] == [{"$ref": "#/definitions/range"}]
        assert run["description"].startswith(kernel_type.run_dimension.meaning)


def test_nothing_is_written_twice(schema: dict[str, Any]) -> None:
    """Whatever is longer than a reference to it stands in one place; the file is small enough for an editor."""
    texts = [json.dumps(each) for name, each in schema["definitions"].items() if "-" in name]
    assert len(texts) == len(set(texts))
    assert len(json.dumps(schema)) < 1000 * len(Registry().names()) + 60_000


def test_the_examples_of_the_documentation_validate(schema: dict[str, Any]) -> None:
    shown = [yaml.safe_load(block.text) for block in blocks("yaml")]
    manifests = [each for each in shown if isinstance(each, dict) and "version" in each and "models" in each]
    assert len(manifests) > 2
    for manifest in [*manifests, yaml.safe_load(EXAMPLE)]:
        jsonschema.Draft7Validator(schema).validate(manifest)
