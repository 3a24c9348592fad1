"""Which kernels of a running build are to be compiled before all others, as someone outside the build says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager


class Priorities:
    """Passes keys of kernels on to the build that follows them. Safe against threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: set[str] = set()
        self._follow: Callable[[Collection[str]], None] | None = None

    def first(self, keys: Collection[str]) -> None:
        """Compile these kernels first; a build that begins later does so too.

        Args:
            keys: of the kernels in the store.
        """
        with self._lock:
            self._keys.update(keys)
            if self._follow is not None:
                self._follow(keys)

    @contextmanager
    def followed_by(self, follow: Callable[[Collection[str]], None]) -> Iterator[None]:
        """Pass on what is known now and what comes, for as long as the block runs."""
        with self._lock:
            self._follow = follow
            follow(tuple(self._keys))
        try:
            yield
        finally:
            with self._lock:
                self._follow = None
