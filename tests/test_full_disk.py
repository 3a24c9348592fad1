"""What a program says on a full disk is no verdict."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from kregistry import full_disk
from kregistry.errors import StorageError
from kregistry.full_disk import raise_if_full


@pytest.mark.parametrize("said", ["No space left on device", "x: Disk quota exceeded", "fatal: write error: x"])
def test_a_program_that_says_so(said: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the disk is full"):
        raise_if_full(tmp_path, 0, f"kernel.cu(3): error\n{said}\n")


def test_too_little_space(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="MiB are free"):
        raise_if_full(tmp_path, 1 << 60, "kernel.cu(3): error")


def test_no_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(f_bavail=1 << 30, f_frsize=4096, f_files=100, f_favail=0)
    monkeypatch.setattr(full_disk.os, "statvfs", lambda path: found)
    with pytest.raises(StorageError, match="no file can be added"):
        raise_if_full(tmp_path, 1, "")


def test_a_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(StorageError, match="a quota is exceeded"):
        raise_if_full(tmp_path, 1, "")


def test_a_disk_with_space(tmp_path: Path) -> None:
    raise_if_full(tmp_path, 1 << 10, "kernel.cu(3): error: undefined")
    assert list(tmp_path.iterdir()) == []
