"""A chain of tiers below the local store: read from the first that has a kernel, written back to those before it.

Only the local store can fail a build. A tier that is slow, unreachable or wrong is a miss, counted and warned of once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from kregistry.errors import StorageError
from kregistry.remote.bundle import BundleTier
from kregistry.remote.location import KREGISTRY_REMOTE, Location
from kregistry.remote.object_tier import ObjectTier
from kregistry.remote.tier import Tier, TierError, Tiers, TierUse
from kregistry.store import packed
from kregistry.store.packed import MAX_BYTES, PackedKernel
from kregistry.store.store import DamagedEntry, Store

_log = logging.getLogger("kregistry.remote")
_Answer = TypeVar("_Answer")
#: A tier is not asked any more after this many failures in a row.
_PATIENCE = 3


def object_name(key: str) -> str:
    """The name of a kernel's object in every tier."""
    return f"v1/kernels/{key[:2]}/{key}"


def _tier(location: Location) -> Tier:
    bundle = location.bundle()
    return BundleTier(bundle) if bundle else ObjectTier(location)


class Chain:
    """Tiers in order, the nearest first. Safe against threads.

    Args:
        tiers: the tiers.
        required: a tier that fails raises an error (for CI jobs that fill it).
        hint: of that error.

    Attributes:
        use: how each tier was used, in the same order.
    """

    def __init__(self, tiers: Tiers, *, required: bool = False, hint: str = "") -> None:
        self._tiers = tuple(tiers)
        self._required = required
        self._hint = hint
        self.use = tuple(TierUse(each.name) for each in self._tiers)
        self._in_a_row = [0] * len(self._tiers)
        self._lock = threading.Lock()

    @classmethod
    def open(cls, locations: Iterable[Location], *, required: bool = False, hint: str = "") -> Chain:
        """
        Raises:
            MissingRequirement: obstore is not installed.
            StorageError: a location cannot be used, and ``required``.
        """
        tiers: list[Tier] = []
        for location in locations:
            try:
                tiers.append(_tier(location))
            except TierError as error:
                if required:
                    raise StorageError(f"remote {location.url}", str(error), hint) from error
                _log.warning("remote %s is not used: %s", location.url, error)
        return cls(tiers, required=required, hint=hint)

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, *, required: bool = False, hint: str = ""
    ) -> Chain:
        """The tiers that ``KREGISTRY_REMOTE`` names; without it there is none.

        Raises:
            InputError: it is not a list of URLs.
            MissingRequirement, StorageError: see :meth:`open`.
        """
        return cls.open(Location.parse_all(environment.get(KREGISTRY_REMOTE, "")), required=required, hint=hint)

    def __bool__(self) -> bool:
        return bool(self._tiers)

    @property
    def writable(self) -> bool:
        return any(not each.read_only for each in self._tiers)

    def fetch(self, key: str, store: Store) -> bool:
        """Put a kernel into the local store, if a tier has it. Nearer tiers that lack it get it too.

        Returns:
            whether a tier had it.

        Raises:
            StorageError: the local store cannot be written; or a tier failed, and the chain is required.
        """
        name = object_name(key)
        for number, tier in enumerate(self._tiers):
            content = self._ask(number, lambda tier=tier: tier.get(name))  # type: ignore[misc]
            kernel = self._checked(number, key, content)
            if kernel is None or content is None:
                continue
            packed.add(store, kernel)
            self._write(name, content, range(number))
            return True
        return False

    def push(self, key: str, store: Store) -> bool:
        """Write a kernel of the local store to every writable tier.

        Returns:
            whether every writable tier took it.

        Raises:
            StorageError: a tier failed, and the chain is required.
        """
        try:
            content = packed.pack(store, key)
        except DamagedEntry:
            content = None
        return content is not None and self._write(object_name(key), content, range(len(self._tiers)))

    def read(self, name: str) -> bytes | None:
        """The content of another object than a kernel, from the first tier that has it: nobody has checked it."""
        for number, tier in enumerate(self._tiers):
            content = self._ask(number, lambda tier=tier: tier.get(name))  # type: ignore[misc]
            if content is not None:
                return content if len(content) <= MAX_BYTES else None
        return None

    def write(self, name: str, content: bytes) -> bool:
        """Write another object than a kernel to every writable tier.

        Returns:
            whether every writable tier took it.
        """
        return self._write(name, content, range(len(self._tiers)))

    def has(self, key: str) -> bool:
        """Whether a tier says that it has a kernel. Its content is not read."""
        name = object_name(key)
        for number, tier in enumerate(self._tiers):
            found = self._ask(number, lambda tier=tier: tier.has(name))  # type: ignore[misc]
            with self._lock:
                self.use[number].hits += found is True
                self.use[number].misses += found is False
            if found:
                return True
        return False

    def summaries(self) -> tuple[str, ...]:
        """A line for each tier."""
        return tuple(each.summary() for each in self.use)

    def _checked(self, number: int, key: str, content: bytes | None) -> PackedKernel | None:
        """The kernel, if the content is what its name says."""
        use = self.use[number]
        with self._lock:
            if content is None:
                use.misses += 1
                return None
            use.bytes_read += len(content)
        try:
            if len(content) > MAX_BYTES:
                raise DamagedEntry("it is too large for a kernel")
            kernel = packed.unpack(key, content)
        except DamagedEntry as error:
            with self._lock:
                use.wrong += 1
            _log.warning("remote %s: the object of kernel %s is not used: %s", use.name, key[:16], error)
            return None
        with self._lock:
            use.hits += 1
        return kernel

    def _write(self, name: str, content: bytes, numbers: Iterable[int]) -> bool:
        every = True
        for number in numbers:
            tier, use = self._tiers[number], self.use[number]
            if tier.read_only:
                continue
            done = self._ask(number, lambda tier=tier: tier.put(name, content) or True)  # type: ignore[misc]
            every = every and done is not None
            if done is not None:
                with self._lock:
                    use.written += 1
                    use.bytes_written += len(content)
        return every

    def _ask(self, number: int, request: Callable[[], _Answer | None]) -> _Answer | None:
        """The answer of a tier; ``None`` if it failed, or has failed too often."""
        use = self.use[number]
        if use.off:
            return None
        started = time.perf_counter()
        try:
            answer = request()
        except TierError as error:
            self._failed(number, str(error), time.perf_counter() - started)
            return None
        with self._lock:
            self._in_a_row[number] = 0
            use.seconds += time.perf_counter() - started
        return answer

    def _failed(self, number: int, text: str, seconds: float) -> None:
        use = self.use[number]
        with self._lock:
            first = use.errors == 0
            use.errors += 1
            use.seconds += seconds
            use.last_error = text
            self._in_a_row[number] += 1
            use.off = self._in_a_row[number] >= _PATIENCE
        if self._required:
            raise StorageError(f"remote {use.name}", text, self._hint)
        if first:
            _log.warning("remote %s failed, and is treated as if it had nothing: %s", use.name, text)
