"""kregistry rehearse: bad input, and the real engines in .ci/engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from command_line import Result

from kregistry.rehearsal import rehearse as module

Run = Callable[..., Result]


def test_an_unknown_engine_lists_the_known_ones(kregistry: Run) -> None:
    result = kregistry("rehearse", "sglagn", "--", "--model-path", "x")
    assert result.code == 2
    assert "unknown engine 'sglagn'" in result.err and "sglang" in result.err


def test_an_engine_that_is_not_installed(kregistry: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.metadata, "version", missing)
    result = kregistry("rehearse", "vllm", "--", "--model", "x")
    assert result.code == 3
    assert "vllm is not installed" in result.err


def test_an_unknown_version_is_named_with_the_known_ones(kregistry: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.metadata, "version", lambda name: "9.9.9")
    result = kregistry("rehearse", "sglang", "--", "--model-path", "x")
    assert result.code == 3
    assert "sglang 9.9.9 is installed, and the patches of a rehearsal know 0.5.15.post1, 0.5.16, 0.5.23" in result.err
    assert "--any-version" in result.err


@pytest.mark.engines
def test_a_config_that_the_engine_rejects_is_one_paragraph(kregistry: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["NoSuchModel"], "model_type": "nothing"}))
    result = kregistry("rehearse", "sglang", "--", "--model-path", str(tmp_path))
    assert result.code == 2
    assert "rejects it" in result.err and "Traceback" not in result.err
    result = kregistry("rehearse", "sglang", "--", "--model-path", str(tmp_path), "--no-such-option")
    assert result.code == 2
    assert "unrecognized arguments: --no-such-option" in result.err
