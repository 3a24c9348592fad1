"""Files and directories that cannot be read or written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from attrs import define

from kregistry.errors.base import KregistryError


@define
class StorageError(KregistryError):
    """A file or directory that cannot be read or written."""

    exit_code: ClassVar[int] = 4
    path: str
    text: str
    hint: str = ""

    @property
    def message(self) -> str:
        return f"{self.path}: {self.text}"

    @classmethod
    def from_oserror(cls, error: OSError, path: object) -> StorageError:
        """The error of an ``OSError``: the path, what happened to it, and a hint where one is known."""
        import errno

        hints = {
            errno.ENOSPC: "free some space, or name another directory with --store or --cache-dir",
            errno.EDQUOT: "free some of your quota, or name another directory with --store or --cache-dir",
            errno.EACCES: "name a writable directory with --store or --cache-dir",
            errno.EPERM: "name a writable directory with --store or --cache-dir",
            errno.ENOTDIR: "a file is where a directory should be: remove it",
            errno.EEXIST: "something else is there: remove it",
            errno.EISDIR: "a directory is where a file should be: remove it",
            errno.EROFS: "the file system is read-only: name another directory with --store or --cache-dir",
        }
        text = error.strerror or str(error)
        return cls(str(error.filename or path), text, hints.get(error.errno or 0, ""))


@contextmanager
def storage_errors(path: object) -> Iterator[None]:
    """Turn an ``OSError`` into a :class:`StorageError` that names the path."""
    try:
        yield
    except OSError as error:
        raise StorageError.from_oserror(error, path) from error
