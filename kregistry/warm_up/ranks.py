"""Ranks: several processes on one store. One builds, the others wait, and all load."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from attrs import field, frozen

from kregistry.errors import WarmupError

_log = logging.getLogger("kregistry.warm_up")
Barrier = Callable[[], object]
#: How long a rank waits for the others, in seconds: longer than a cold build of a large model on few cores.
BARRIER_SECONDS = 3600.0
#: A rank that waits says so after the first of these times, and again each time that the second has passed; in seconds.
FIRST_LINE_SECONDS = 5.0
NEXT_LINE_SECONDS = 30.0


def _no_barrier() -> None:
    """There are no other ranks."""


@frozen
class Ranks:
    """This process among those that warm up together.

    Attributes:
        rank: the process with rank 0 builds. On several hosts without a common store, this is the rank on the host.
        barrier: returns when every rank has called it.
        seconds: how long to wait in the barrier.
    """

    rank: int = 0
    barrier: Barrier = _no_barrier
    seconds: float = BARRIER_SECONDS
    _passed: threading.Event = field(factory=threading.Event, init=False, eq=False, repr=False)

    @classmethod
    def from_options(
        cls,
        rank: int | None,
        barrier: Barrier | Literal["torch.distributed"] | None,
        seconds: float = BARRIER_SECONDS,
    ) -> Ranks:
        """From the arguments of :func:`kregistry.warmup`."""
        if barrier == "torch.distributed":
            import torch.distributed as distributed

            return cls(distributed.get_rank() if rank is None else rank, distributed.barrier, seconds)
        if barrier is None:
            return cls(rank or 0)
        return cls(rank or 0, barrier, seconds)

    @property
    def builds(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Wait in the barrier once, but not for ever.

        The barrier runs in a thread of its own, on this thread's device, so that one that never returns can be left.

        Raises:
            WarmupError: it has not returned in time.
            BaseException: what the barrier itself raises.
        """
        if self.barrier is _no_barrier or self._passed.is_set():
            return
        self._passed.set()
        outcome: list[BaseException | None] = []
        device = _current_device()
        thread = threading.Thread(target=self._call, args=(outcome, device), name="kregistry-barrier", daemon=True)
        thread.start()
        self._join(thread)
        if not outcome:
            text = f"rank {self.rank} has waited {self.seconds:g} s in the barrier for the other ranks"
            hint = "a rank failed or does not call warmup; barrier_seconds must be longer than a cold build takes"
            raise WarmupError(text, hint=hint)
        if outcome[0] is not None:
            raise outcome[0]

    def _join(self, thread: threading.Thread) -> None:
        """Wait for the barrier's thread, with a line in the log soon and then once in a while."""
        started = time.monotonic()
        end, pause = started + self.seconds, FIRST_LINE_SECONDS
        while thread.is_alive() and (left := end - time.monotonic()) > 0:
            thread.join(min(pause, left))
            if thread.is_alive() and time.monotonic() < end:
                waited = time.monotonic() - started
                whom = "the other ranks" if self.builds else "rank 0, which builds"
                _log.warning("rank %d has waited %.0f s for %s (at most %.0f s)", self.rank, waited, whom, self.seconds)
                pause = NEXT_LINE_SECONDS

    def _call(self, outcome: list[BaseException | None], device: Any) -> None:
        try:
            if device is not None:
                sys.modules["torch"].cuda.set_device(device)
            self.barrier()
            outcome.append(None)
        except BaseException as error:  # raised again by the thread that waits
            outcome.append(error)

    @contextmanager
    def released_after_failure(self) -> Iterator[None]:
        """If the block fails before the barrier, pass it: the others must not wait for a rank that reports an error."""
        try:
            yield
        except Exception:
            with suppress(Exception):
                self.wait()
            raise


def _current_device() -> Any:
    """The CUDA device of this thread, if this process uses CUDA: NCCL's barrier runs on it."""
    torch = sys.modules.get("torch")
    return torch.cuda.current_device() if torch is not None and torch.cuda.is_initialized() else None
