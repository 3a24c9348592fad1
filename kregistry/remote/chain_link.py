"""One tier of a chain: what is taken from it, how it was used, and when it is given up.

A tier that is slow, unreachable or wrong is a miss, counted and warned of once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from kregistry.errors import Rejection, StorageError
from kregistry.remote.gate import Gate
from kregistry.remote.tier import Tier, TierError
from kregistry.remote.tier_use import TierUse
from kregistry.store.packed import MAX_BYTES, PackedKernel
from kregistry.store.store import DamagedEntry
from kregistry.trust.outcome import NotTrusted

_log = logging.getLogger("kregistry.remote")
_Answer = TypeVar("_Answer")
#: A tier is not asked any more after this many failures in a row.
_PATIENCE = 3


def subject_of(key: str) -> str:
    """What messages call a kernel."""
    return f"kernel {key[:16]}"


class ChainLink:
    """Safe against threads.

    Args:
        tier: the tier.
        gate: what is taken from it.
        required: a failure raises an error.
        hint: of that error.
        rejections: what was not taken because of its signature is appended to it.

    Attributes:
        use: how the tier was used.
    """

    def __init__(self, tier: Tier, gate: Gate, *, required: bool, hint: str, rejections: list[Rejection]) -> None:
        self._tier = tier
        self.gate = gate
        self._required = required
        self._hint = hint
        self._rejections = rejections
        self.use = TierUse(tier.name)
        self._failures_in_a_row = 0
        self._lock = threading.Lock()

    @property
    def read_only(self) -> bool:
        return self._tier.read_only

    def get(self, name: str) -> bytes | None:
        """The content of an object, unchecked; ``None`` if it is not there, or the tier failed.

        Raises:
            StorageError: the tier failed, and is required. All requests may raise it.
        """
        return self._ask(lambda: self._tier.get(name))

    def has(self, name: str) -> bool:
        """Whether the tier says that it has an object."""
        found = self._ask(lambda: self._tier.has(name))
        with self._lock:
            self.use.hits += found is True
            self.use.misses += found is False
        return bool(found)

    def put(self, name: str, content: bytes) -> bool:
        """Write an object; whether that was done."""
        done = self._ask(lambda: self._tier.put(name, content) or True)
        if done is None:
            return False
        with self._lock:
            self.use.written += 1
            self.use.bytes_written += len(content)
        return True

    def kernel(self, key: str, content: bytes | None) -> PackedKernel | None:
        """The kernel in what :meth:`get` gave, if it is what its name says and the gate takes it."""
        use = self.use
        with self._lock:
            if content is None:
                use.misses += 1
                return None
            use.bytes_read += len(content)
        try:
            if len(content) > MAX_BYTES:
                raise DamagedEntry("it is too large for a kernel")
            kernel = self.gate.take(key, content)
        except DamagedEntry as error:
            with self._lock:
                use.wrong += 1
            _log.warning("remote %s: the object of kernel %s is not used: %s", use.name, key[:16], error)
            return None
        except NotTrusted as refused:
            self._refused(refused.of(use.name, subject_of(key)))
            return None
        with self._lock:
            use.hits += 1
        return kernel

    def other(self, name: str, content: bytes | None) -> bytes | None:
        """The same for another object than a kernel."""
        if content is None or len(content) > MAX_BYTES:
            return None
        try:
            return self.gate.take_other(name, content)
        except NotTrusted as refused:
            self._refused(refused.of(self.use.name, name))
            return None

    def wants(self, key: str, content: bytes) -> bool:
        """Whether a kernel from a tier further away is written here: only what a reader would take."""
        try:
            return not self.read_only and bool(self.gate.take(key, content))
        except (DamagedEntry, NotTrusted):
            return False

    def _refused(self, rejection: Rejection) -> None:
        use = self.use
        with self._lock:
            first = rejection.outcome not in use.refused
            use.not_taken += 1
            use.refused[rejection.outcome] = use.refused.get(rejection.outcome, 0) + 1
            self._rejections.append(rejection)
        if first:
            _log.warning("remote %s: %s is not taken: %s", use.name, rejection.subject, rejection.reason)

    def _ask(self, request: Callable[[], _Answer | None]) -> _Answer | None:
        """The answer of the tier; ``None`` if it failed, or has failed too often."""
        if self.use.off:
            return None
        started = time.perf_counter()
        try:
            answer = request()
        except TierError as error:
            self._failed(str(error), time.perf_counter() - started)
            return None
        with self._lock:
            self._failures_in_a_row = 0
            self.use.seconds += time.perf_counter() - started
        return answer

    def _failed(self, text: str, seconds: float) -> None:
        use = self.use
        with self._lock:
            first = use.errors == 0
            use.errors += 1
            use.seconds += seconds
            use.last_error = text
            self._failures_in_a_row += 1
            use.off = self._failures_in_a_row >= _PATIENCE
        if self._required:
            raise StorageError(f"remote {use.name}", text, self._hint)
        if first:
            _log.warning("remote %s failed, and is treated as if it had nothing: %s", use.name, text)
