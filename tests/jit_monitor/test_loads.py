"""Loads from disk, seen with the real inotify."""

from __future__ import annotations

import select
import subprocess
from pathlib import Path

import pytest

from kregistry.jit_monitor import loads as module
from kregistry.jit_monitor.loads import LoadWatcher


def make_kernel(root: Path, name: str) -> Path:
    directory = root / name
    directory.mkdir()
    cubin = directory / "kernel.cubin"
    cubin.write_bytes(b"machine code")
    (directory / "kernel.cu").write_text("source")
    return cubin


def taken(watcher: LoadWatcher, loads: list[str]) -> list[str]:
    while select.select([watcher.descriptor], [], [], 0)[0]:
        watcher.read()
    return loads


def test_the_first_read_of_each_cubin_counts_whoever_reads(tmp_path: Path) -> None:
    loads: list[str] = []
    one, other, third = (make_kernel(tmp_path, name) for name in ("kernel.a.1", "kernel.b.2", "kernel.c.3"))
    one.read_bytes()  # before: part of warm-up
    watcher = LoadWatcher([tmp_path, tmp_path / "absent"], loads.append)
    assert taken(watcher, loads) == []
    other.read_bytes()
    other.read_bytes()
    (third.parent / "kernel.cu").read_text()
    assert taken(watcher, loads) == [str(other)]
    subprocess.run(["cat", str(third)], check=True, stdout=subprocess.DEVNULL)
    assert taken(watcher, loads) == [str(other), str(third)]
    watcher.close()


def test_a_kernel_that_is_just_compiled_is_not_a_load(tmp_path: Path) -> None:
    loads: list[str] = []
    watcher = LoadWatcher([tmp_path], loads.append)
    make_kernel(tmp_path, "kernel.new.1").read_bytes()
    assert taken(watcher, loads) == []
    watcher.close()


def test_a_kernel_that_is_removed_before_it_is_watched_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    one = make_kernel(tmp_path, "kernel.a.1")
    monkeypatch.setattr(module, "matching", lambda *_: iter([tmp_path / "gone", one.parent]))
    watcher = LoadWatcher([tmp_path], loads.append)
    one.read_bytes()
    assert taken(watcher, loads) == [str(one)]
    watcher.close()
