"""Front ends that have parsed their headers, by family: as many as there is memory for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import define

from kregistry.compile.nvcc import Compiler
from kregistry.compile.shared.headers import Headers, parse_headers
from kregistry.compile.shared.kernel_family import Family


@define
class _Open:
    headers: Headers
    users: int = 0


class HeaderPool:
    """Parses headers and keeps the front ends; safe against threads.

    Args:
        scratch: gives a path for a scratch directory.
        limit: at most so many are kept, each as large as a compiler at work.
    """

    def __init__(self, compiler: Compiler, scratch: Callable[[str], Path], limit: int) -> None:
        self._compiler = compiler
        self._scratch = scratch
        self._limit = limit
        self._open: dict[Family, _Open] = {}  # the one that was used last is the last
        self._lock = threading.Lock()

    def parse(self, family: Family) -> None:
        """Parse the headers of a family.

        Raises:
            CannotShare: they cannot be parsed once for all kernels.
            StorageError: the scratch directory cannot be written.
        """
        headers = parse_headers(self._compiler, family, self._scratch("headers"))
        with self._lock:
            self._open[family] = _Open(headers)

    def shrink(self, needed: Collection[Family]) -> Mapping[Family, Headers]:
        """Take out as many as are too many, neither in use nor needed; the caller closes them."""
        with self._lock:
            spare = [each for each, opened in self._open.items() if not opened.users and each not in needed]
            gone = spare[: max(0, len(self._open) - self._limit)]
            return {family: self._open.pop(family).headers for family in gone}

    @contextmanager
    def use(self, family: Family) -> Iterator[Headers | None]:
        """The headers of a family, which stay as long as the block lasts; ``None`` if they are not there."""
        with self._lock:
            opened = self._open.pop(family, None)
            if opened is not None:
                self._open[family] = opened
                opened.users += 1
        try:
            yield opened.headers if opened else None
        finally:
            with self._lock:
                if opened is not None:
                    opened.users -= 1

    def close(self) -> None:
        with self._lock:
            every, self._open = self._open, {}
        for opened in every.values():
            opened.headers.close()
