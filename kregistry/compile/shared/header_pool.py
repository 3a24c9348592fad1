"""Front ends that have parsed the headers of a family, and are kept for its next groups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import define

from kregistry.compile.nvcc import Nvcc
from kregistry.compile.shared.headers import Headers, parse_headers
from kregistry.compile.shared.kernel_family import KernelFamily


@define
class _Open:
    headers: Headers
    users: int = 0


class HeaderPool:
    """Parses headers and keeps the front ends. Safe against threads.

    Args:
        scratch: gives a path for a scratch directory.
        limit: maximum number of front ends that are kept; each needs as much memory as a running compiler.
    """

    def __init__(self, nvcc: Nvcc, scratch: Callable[[str], Path], limit: int) -> None:
        self._nvcc = nvcc
        self._scratch = scratch
        self._limit = limit
        self._open: dict[KernelFamily, _Open] = {}  # in the order of their last use
        self._lock = threading.Lock()

    def parse(self, family: KernelFamily) -> None:
        """Parse the headers of a family and keep the front end.

        Raises:
            CannotShare: the headers cannot be parsed once for all kernels.
            StorageError: the scratch directory cannot be written.
        """
        headers = parse_headers(self._nvcc, family, self._scratch("headers"))
        with self._lock:
            self._open[family] = _Open(headers)

    def shrink(self, needed: Collection[KernelFamily]) -> Mapping[KernelFamily, Headers]:
        """Take out the front ends beyond the limit that are neither in use nor needed; the caller closes them."""
        with self._lock:
            spare = [each for each, opened in self._open.items() if not opened.users and each not in needed]
            gone = spare[: max(0, len(self._open) - self._limit)]
            return {family: self._open.pop(family).headers for family in gone}

    @contextmanager
    def use(self, family: KernelFamily) -> Iterator[Headers | None]:
        """The parsed headers of a family, kept at least until the block ends; ``None`` if they are not in the pool."""
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
        """End all front ends."""
        with self._lock:
            every, self._open = self._open, {}
        for opened in every.values():  # all at once: the system takes a while to free the memory of each
            opened.headers.hang_up()
        for opened in every.values():
            opened.headers.close()
