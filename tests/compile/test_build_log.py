"""Logs of builds: what is written is read, and the one that is shown is the newest that compiled something."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from kregistry.compile import BuildReport, build_log
from kregistry.compile.build_log import BuildLog, build_ids, latest_build_log, read_build_log, write_build_log
from kregistry.compile.cpu_samples import CpuSamples
from kregistry.errors import InputError, UnknownNameError
from kregistry.kernel import Kernel
from kregistry.store import Store


@pytest.fixture
def log(tiny_build: BuildReport, session_store: Store) -> BuildLog:
    return read_build_log(session_store.directory, tiny_build.id)


def test_a_build_leaves_its_log(log: BuildLog, tiny_build: BuildReport, kernel: Kernel) -> None:
    (compiled,) = tiny_build.compiled
    assert log.kernels[kernel.id].tier == "compiled"
    assert log.kernels[kernel.id].nbytes == compiled.nbytes
    assert (log.fingerprint, log.reused, log.models) == (tiny_build.plan.fingerprint, False, ("tiny",))
    stages = [(task.stage, task.kernels) for task in log.tasks]
    assert ("alone", (kernel.id,)) in stages
    assert {"start", "plan"} <= {stage for stage, _ in stages}
    for task in log.tasks:
        assert task.seconds is not None and log.started <= task.started <= log.started + log.seconds
    assert tiny_build.to_json()["build"] == log.id


def test_what_is_written_is_read(log: BuildLog, tmp_path: Path) -> None:
    assert write_build_log(tmp_path, log) == tmp_path / "builds" / f"{log.id}.json"
    assert read_build_log(tmp_path, log.id) == log
    assert build_ids(tmp_path) == [log.id]


def test_each_build_has_a_name_of_its_own_that_sorts_by_time() -> None:
    """Two builds of one process in one second, and two machines whose processes have the same number."""
    second = 1_700_000_000.0
    names = [build_log._new_id(second) for _ in range(100)]
    assert len(set(names)) == 100
    times = [second - 1, second, second + 0.000_25, second + 0.5, second + 1]
    in_order = [build_log._new_id(time) for time in times]
    assert sorted(in_order) == in_order
    assert all(build_log._ID.fullmatch(name) for name in (*names, *in_order, "20261130T000000-4711"))


def test_the_newest_that_compiled_something_is_shown(log: BuildLog, tmp_path: Path) -> None:
    assert latest_build_log(tmp_path, log.fingerprint) is None
    found = {name: evolve(each, tier="store") for name, each in log.kernels.items()}
    later = evolve(log, id="29991231T000000-1", kernels=found)
    write_build_log(tmp_path, later)
    assert latest_build_log(tmp_path, log.fingerprint) == later
    write_build_log(tmp_path, log)
    assert latest_build_log(tmp_path, log.fingerprint) == log
    assert latest_build_log(tmp_path, "another") is None


def test_the_oldest_are_removed(log: BuildLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_log, "_KEPT", 2)
    for year in (2001, 2002, 2003):
        write_build_log(tmp_path, evolve(log, id=f"{year}0101T000000-1"))
    assert build_ids(tmp_path) == ["20020101T000000-1", "20030101T000000-1"]


def test_an_unknown_build_and_a_damaged_one(log: BuildLog, tmp_path: Path) -> None:
    path = write_build_log(tmp_path, log)
    assert path is not None
    with pytest.raises(UnknownNameError, match="20010101T000000-1"):
        read_build_log(tmp_path, "20010101T000000-1")
    content = json.loads(path.read_text())
    for damaged in ("", "[]", json.dumps({**content, "log_version": 0}), json.dumps({**content, "tasks": [{}]})):
        path.write_text(damaged)
        with pytest.raises(InputError, match=str(path)):
            read_build_log(tmp_path, log.id)
        assert latest_build_log(tmp_path, log.fingerprint) is None


def test_a_directory_that_cannot_be_written(log: BuildLog, tmp_path: Path) -> None:
    (tmp_path / "builds").touch()
    assert write_build_log(tmp_path, log) is None


def test_cores_in_use_are_sampled() -> None:
    with CpuSamples(0.01) as cpu:
        while not cpu.samples:
            time.sleep(0.01)
    assert all(cores >= 0 for _, cores in cpu.samples)


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")],
    ids=["a directory", "a pipe", "a link to nowhere"],
)
def test_what_is_no_log_is_passed_over(log: BuildLog, tmp_path: Path, make: Callable[[Path], None]) -> None:
    write_build_log(tmp_path, log)
    make(tmp_path / "builds" / "29991231T000000-1.json")
    assert latest_build_log(tmp_path, log.fingerprint) == log


@pytest.mark.parametrize(
    "wrong",
    [
        {"started": "yesterday"}, {"started": -1}, {"started": 1e300}, {"jobs": 0}, {"cores": 0}, {"cpu": [[1]]},
        {"cpu": [[1, -2]]}, {"models": "v3"}, {"environment": {"A": 1}}, {"reused": 1}, {"kernels": {"a": {}}},
        {"tasks": [{"stage": '"><script>', "text": "", "worker": "", "kernels": [], "started": 1, "seconds": 1}]},
        {"tasks": [{"stage": "plan", "text": "", "worker": "", "kernels": [], "started": 1, "seconds": -1}]},
        {"tasks": [{"stage": "plan", "text": "", "worker": "", "kernels": "ab", "started": 1, "seconds": 1}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_log_whose_values_are_not_possible_is_refused(log: BuildLog, wrong: dict[str, object]) -> None:
    content = json.loads(json.dumps(log.to_json()))
    assert BuildLog.from_json(dict(content)) == log
    with pytest.raises(ValueError, match="not the log of a build"):
        BuildLog.from_json({**content, **wrong})
