"""Temporary directories: at literal paths, held by their owner, and removed after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from kregistry.errors import InputError, StorageError
from kregistry.scratch import (
    is_literal,
    make_scratch,
    refuse_unless_literal,
    remove_abandoned,
    remove_leftovers,
    scratch_directory,
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_directory_is_removed_at_the_end(temporary: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch_directory("test") as made:
        assert made.parent == temporary and made.name.startswith("kregistry-test-")
        (made / "x").touch()
        raise ZeroDivisionError
    assert list(temporary.iterdir()) == []


OWNER = """
import os, sys, tempfile
from kregistry.scratch import make_scratch
tempfile.tempdir = sys.argv[1]
print(make_scratch("test")[0], flush=True)
sys.stdin.readline()
"""


def test_the_directory_of_a_living_process_stays_and_that_of_a_killed_one_goes(temporary: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(temporary)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        made = Path(owner.stdout.readline().strip())
        with scratch_directory("test"):
            assert made.is_dir()
        owner.kill()
        owner.wait()
    assert made.is_dir()
    with scratch_directory("test"):
        assert not made.exists()


def test_only_what_is_ours_is_removed(temporary: Path) -> None:
    other = temporary / "kregistry-x"
    other.mkdir()
    (temporary / "kregistry-file-x.held").touch()
    (temporary / "kregistry-link-x.held").symlink_to(other)
    new = temporary / ".kregistry-new-a"
    new.mkdir()
    remove_abandoned(temporary)
    assert other.is_dir() and (temporary / "kregistry-link-x.held").is_symlink() and new.is_dir()
    then = time.time() - 100
    os.utime(new, (then, then))
    remove_abandoned(temporary)
    assert not new.exists()


HOSTILE = ["a b", "a:b", 'x"$(touch f)"', "`touch f`", "a;b", "a\nb", "ä", "a'b", "a\\b", "$HOME", "a*b", "a&b", "a|b"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_directory_for_temporary_files_is_not_used(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    with scratch_directory("test") as made:
        assert is_literal(made) and tmp_path not in made.parents
    with pytest.raises(InputError, match="would pass to a shell"):
        refuse_unless_literal(tmp_path / name, "CUDA_HOME")


def test_a_full_disk(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(StorageError, match="No space left on device"):
        make_scratch("test")


def test_leftovers_are_removed_by_who_needs_no_directory(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, hold = make_scratch("stub")
    remove_leftovers()
    assert made.exists()  # its owner lives
    os.close(hold)
    remove_leftovers()
    assert not made.exists()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "not there"))
    remove_leftovers()
