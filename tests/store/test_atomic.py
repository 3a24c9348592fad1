"""Publishing: all or nothing, and the loser of a race uses the winner's."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from kregistry.errors import StorageError
from kregistry.store import atomic


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_replace_file_puts_new_content_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic.replace_file(path, b"one")
    atomic.replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == {"a"}


def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atomic.replace_file(tmp_path / "a", b"one")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        atomic.replace_file(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == {"a"}


def test_publish_makes_a_whole_directory_visible(tmp_path: Path) -> None:
    scratch, final = tmp_path / "tmp" / "x", tmp_path / "kernels" / "ab" / "abc"
    atomic.write_directory(scratch, {"a": b"1", "b": b"2"})
    assert atomic.publish_directory(scratch, final) is True
    assert {path.name: path.read_bytes() for path in final.iterdir()} == {"a": b"1", "b": b"2"}
    assert not scratch.exists()


def test_the_loser_of_a_race_uses_the_winners(tmp_path: Path) -> None:
    final = tmp_path / "final"
    for number in ("winner", "loser"):
        atomic.write_directory(tmp_path / number, {"a": number.encode()})
    assert atomic.publish_directory(tmp_path / "winner", final) is True
    assert atomic.publish_directory(tmp_path / "loser", final) is False
    assert (final / "a").read_bytes() == b"winner"
    assert names(tmp_path) == {"final", "final/a"}


def test_a_publication_that_fails_otherwise_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    atomic.write_directory(tmp_path / "scratch", {"a": b""})
    with pytest.raises(OSError):
        atomic.publish_directory(tmp_path / "scratch", tmp_path / "file" / "final")


def test_link_or_copy_links_on_one_file_system(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    atomic.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_link_or_copy_copies_where_links_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"x")
    atomic.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"x"
    assert not (tmp_path / "a").samefile(tmp_path / "b")


def test_link_or_copy_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"y")
    with pytest.raises(FileExistsError):
        atomic.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"y"


def test_storage_errors_name_the_path(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught, atomic.storage_errors(tmp_path):
        full_disk()
    assert str(caught.value) == (
        f"{tmp_path}: No space left on device\n"
        "hint: free some space, or name another directory with --store or --cache-dir"
    )


def test_scratch_names_are_of_this_process_and_unique() -> None:
    first, second = atomic.scratch_name("x"), atomic.scratch_name("x")
    assert first != second
    assert first.startswith(f"x.{os.getpid()}.")


def test_only_abandoned_scratch_is_removed(tmp_path: Path) -> None:
    old = time.time() - 100
    for name in ("old", "new"):
        (tmp_path / name).touch()
        (tmp_path / f"{name}-directory").mkdir()
        (tmp_path / f"{name}-directory" / "file").touch()
    for name in ("old", "old-directory"):
        os.utime(tmp_path / name, (old, old))
    atomic.remove_abandoned(tmp_path, 50)
    assert names(tmp_path) == {"new", "new-directory", "new-directory/file"}
    atomic.remove_abandoned(tmp_path / "nowhere", 50)


def test_a_directory_that_appears_meanwhile_is_not_moved_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that publish below one directory: the other one makes it while this one looks."""
    path, exists = tmp_path / "ab", os.path.lexists

    def other(looked: Path) -> bool:
        path.mkdir(exist_ok=True)
        (path / "kernel").touch()
        return exists(looked)

    monkeypatch.setattr(os.path, "lexists", other)
    atomic.make_way(path, tmp_path / "aside")
    assert (path / "kernel").exists() and not (tmp_path / "aside").exists()


def test_an_output_removes_what_killed_processes_have_left_of_it(tmp_path: Path) -> None:
    mine, others = ".k.lock.12.0123456789ab", (".k.lock", ".k.lock.old", ".other.lock.12.0123456789ab", "k.lock.1.x")
    fresh = ".k.lock.13.0123456789ab"
    for name in (mine, *others, fresh):
        (tmp_path / name).touch()
        if name != fresh:
            os.utime(tmp_path / name, (1, 1))
    atomic.write_output(tmp_path / "k.lock", b"new")
    assert names(tmp_path) == {"k.lock", fresh, *others}


def test_a_directory_that_is_made_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has removed the file in the way, and filled the directory, since we have looked."""
    path, real = tmp_path / "kernels", Path.rename
    path.touch()

    def rename(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", real)
        path.unlink()
        atomic.write_directory(path, {"entry": b"1"})
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    atomic.make_way(path, tmp_path / "tmp" / "aside")
    assert (path / "entry").read_bytes() == b"1"
    assert names(tmp_path / "tmp") == set()


def test_a_directory_in_the_place_of_a_file_is_removed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, aside = tmp_path / "file", tmp_path / "aside"
    atomic.write_directory(path, {"a/b": b"1"})
    atomic.clear_directory(path, aside)
    assert names(tmp_path) == set()
    monkeypatch.setattr(Path, "is_dir", lambda self: self == path)  # another process has removed it since
    atomic.clear_directory(path, aside)
    path.touch()
    monkeypatch.undo()
    atomic.clear_directory(path, aside)
    assert names(tmp_path) == {"file"}


def test_a_file_is_created_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    for number in (b"1", b"2"):
        atomic.create_file(tmp_path / "a", number)
    monkeypatch.setattr(os, "link", refuse)  # a file system without hard links
    atomic.create_file(tmp_path / "b", b"3")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        atomic.create_file(tmp_path / "c", b"4")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "b": b"3"}
