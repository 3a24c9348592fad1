"""Calls that no manifest covered: the log line, the file for the next start, the build in the background."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kregistry.integrations import missing_calls
from kregistry.integrations.missing_calls import MissingCalls
from kregistry.integrations.remembered_calls import remembered
from kregistry.integrations.start_folder import StartFolder, Status
from kregistry.manifest import Entry, load_manifest
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.target import get_target
from manifests import with_kernels

H100 = get_target("h100")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture
def entries(registry: Registry, tmp_path: Path) -> tuple[Entry, ...]:
    path = tmp_path / "kernels.yaml"
    path.write_text(
        with_kernels(
            "{type: fp8_gemm_nt, shape: {n: 512, k: 1024}, m: {stop: 64}}",
            "{type: fp8_gemm_nt, shape: {n: 768, k: 1024}, m: {stop: 64}}",
        )
    )
    return load_manifest(path, registry, H100).entries


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[StartFolder]:
    """The folders that build processes were started for."""
    found: list[StartFolder] = []

    def start_build(start: StartFolder, environment: Mapping[str, str]) -> None:
        found.append(start)

    monkeypatch.setattr(missing_calls, "start_build", start_build)
    monkeypatch.setattr(missing_calls, "wait_for_build", lambda start: Status("done", 1, kernels=2))
    return found


def waited_for(condition: Callable[[], bool]) -> bool:
    return any(condition() or threading.Event().wait(0.01) for _ in range(6000))


@pytest.fixture(autouse=True)
def every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_call_in_live_traffic_is_built_and_remembered(
    entries: tuple[Entry, ...],
    built: list[StartFolder],
    registry: Registry,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store(tmp_path / "store")
    missing = MissingCalls(store, "model")
    missing.in_live_traffic(entries, 5)
    assert waited_for(lambda: "built in the background: done, 2 kernels" in caplog.text)
    found = [entry for start in built for entry in load_manifest(start.manifest, registry, start.read_target()).entries]
    assert [str(each.shape) for each in found] == [str(each.shape) for each in entries]
    assert "fp8_gemm_nt n=512 k=1024 scales=f32 at m 5 was in no manifest" in caplog.text
    assert "add: - {type: fp8_gemm_nt, shape: {n: 512, k: 1024, scales: f32}, m: {start: 1, stop: 64" in caplog.text
    assert len(list(remembered(store, "model"))) == 2


def test_without_a_model_nothing_is_remembered(entries: tuple[Entry, ...], tmp_path: Path) -> None:
    MissingCalls(Store(tmp_path / "store")).while_starting(entries)
    assert not (tmp_path / "store").exists()


def test_failures_are_logged(
    entries: tuple[Entry, ...],
    built: list[StartFolder],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the store nor the directory for temporary files takes the folder of a build."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    missing = MissingCalls(Store(tmp_path / "file"), "model")
    missing.in_live_traffic(entries, 5)
    assert waited_for(lambda: "kregistry cannot build in the background" in caplog.text)
    assert caplog.text.count("kregistry cannot remember a call for the next start") == 2 and not built
