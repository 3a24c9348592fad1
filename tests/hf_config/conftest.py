"""What the tests of models share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kregistry import Registry, get_target
from kregistry.hf_config.config import ModelConfig, read_config
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.installed_families import installed_families
from kregistry.hf_config.model_family import Family
from kregistry.hf_config.resolve import ModelCalls, model_calls

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "tests" / "data" / "models"

#: (config, engine, settings) -> calls.
Resolve = Callable[..., ModelCalls]


@pytest.fixture(scope="session")
def installed() -> Registry:
    """The installed plugins."""
    registry = Registry()
    assert not registry.broken
    return registry


@pytest.fixture(scope="session")
def families() -> tuple[Family, ...]:
    """The installed families."""
    found = installed_families()
    assert not found.broken
    return found.families


@pytest.fixture(scope="session")
def config_path() -> Callable[[str], Path]:
    """The path of a shipped or test config by its name."""

    def find(name: str) -> Path:
        shipped = ROOT / "manifests" / "configs" / f"{name}.json"
        return shipped if shipped.exists() else DATA / "configs" / f"{name}.json"

    return find


@pytest.fixture(scope="session")
def load_data() -> Callable[[str], Any]:
    def load(name: str) -> Any:
        return json.loads((DATA / name).read_text(encoding="utf-8"))

    return load


@pytest.fixture(scope="session")
def resolve(installed: Registry, families: tuple[Family, ...], config_path: Callable[[str], Path]) -> Resolve:
    """Work out the calls of a model: ``resolve("deepseek-v3", "sglang", tp=8)``."""

    def run(config: str | ModelConfig, engine: str, target: str = "h100", **setting: Any) -> ModelCalls:
        model = read_config(config_path(config)) if isinstance(config, str) else config
        return model_calls(model, Deployment(engine, get_target(target), **setting), installed, families)

    return run
