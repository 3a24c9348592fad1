"""What commands print with --json follows the schemas that kregistry schema --output-of prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command_line import Result

from kregistry.compile import BuildReport
from kregistry.store import Store

Run = Callable[..., Result]


def validate(kregistry: Run, command: str, content: Any) -> None:
    schema = kregistry("schema", "--output-of", command).json
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(content)
    assert content and not jsonschema.Draft7Validator(schema).is_valid(3)


@pytest.mark.parametrize("command", ["plan", "build", "verify", "show", "check", "list", "targets", "new-plugin"])
def test_output_follows_its_schema(
    kregistry: Run, command: str, tiny_file: Path, tiny_build: BuildReport, session_store: Store, tmp_path: Path
) -> None:
    place = ("--store", session_store.directory)
    cache = ("--cache-dir", tiny_build.cache_directory)
    arguments: dict[str, tuple[Any, ...]] = {
        "plan": (tiny_file, *place),
        "build": (tiny_file, *place, *cache),
        "verify": (tiny_file, *place, *cache),
        "show": ("-f", tiny_file, *place, *cache),
        "check": (tiny_file,),
        "new-plugin": ("my-gemm", "--directory", tmp_path / "plugin"),
    }
    result = kregistry(command, *arguments.get(command, ()), "--json")
    assert result.code == 0, result.err
    validate(kregistry, command, result.json)


def test_a_warm_up_follows_its_schema(kregistry: Run, warm_run: dict[str, Any]) -> None:
    validate(kregistry, "warmup", warm_run["report"])


def test_a_build_with_everything_follows_its_schema(kregistry: Run, tiny_build: BuildReport) -> None:
    validate(kregistry, "build", json.loads(json.dumps(tiny_build.to_json())))


def test_an_unknown_command_has_no_schema(kregistry: Run) -> None:
    result = kregistry("schema", "--output-of", "pla")
    assert result.code == 2
    assert result.err == "error: unknown command with JSON output 'pla'\nhint: did you mean 'plan'?\n"
    assert "hint: known commands with JSON output: audit, " in kregistry("schema", "--output-of", "zzzz").err
