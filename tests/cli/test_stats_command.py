"""kregistry stats"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry.compile import BuildReport
from kregistry.plan.lock import write_lock
from kregistry.store import Store
from kregistry.toolchain import Toolchain

Run = Callable[..., Result]


@pytest.mark.stub
@pytest.mark.nvcc
def test_a_store_and_its_remotes(
    kregistry: Run, tiny_build: BuildReport, session_store: Store, toolchain: Toolchain, tmp_path: Path
) -> None:
    lock, store, url = tmp_path / "kernels.lock", tmp_path / "store", f"{tmp_path}/remote?unsigned"
    write_lock(tiny_build.plan, lock, toolchain.cuda.compiler)
    assert kregistry("push", url, "--lock", lock, "--store", session_store.directory).code == 0
    for _ in range(2):  # the first reads it from the remote, the second has it
        assert kregistry("build", "--lock", lock, "--store", store, "--remote", url).code == 0
    shown = kregistry("stats", "--store", store)
    assert shown.code == 0
    lines = [line.split() for line in shown.out.splitlines()]
    assert shown.out.startswith(f"{store}: 1 kernels, ") and lines[1][:3] == ["2", "commands", "since"]
    assert ["this", "store", "1", "1", "50", "%"] in [line[:6] for line in lines]
    assert [(tmp_path / "remote").as_uri(), "1", "0", "100", "%", "0", "0", "0"] in [line[:8] for line in lines]
    counted = kregistry("stats", "--store", store, "--json").json
    assert (counted["store"]["kernels"], counted["found"], counted["missed"], counted["compiled"]) == (1, 1, 1, 0)
    metrics = kregistry("stats", "--store", store, "--prometheus").out
    assert f'kregistry_remote_hits_total{{remote="{(tmp_path / "remote").as_uri()}"}} 1.0\n' in metrics
    assert "\nkregistry_store_kernels 1.0\n" in metrics
    assert kregistry("stats", "--store", store, "--zero").code == 0
    assert "nothing was counted yet" in kregistry("stats", "--store", store).out


def test_an_empty_store(kregistry: Run, tmp_path: Path) -> None:
    shown = kregistry("stats", "--store", tmp_path / "nowhere")
    assert (shown.code, shown.out.splitlines()[0]) == (0, f"{tmp_path / 'nowhere'}: 0 kernels, 0 B")
    assert not (tmp_path / "nowhere").exists()


def test_prometheus_without_its_package(kregistry: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    shown = kregistry("stats", "--store", tmp_path, "--prometheus")
    assert (shown.code, "pip install prometheus-client" in shown.err) == (3, True)
