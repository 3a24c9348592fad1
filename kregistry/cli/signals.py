"""SIGTERM and SIGHUP end a command as Ctrl-C does: docker, systemd, Slurm, Kubernetes and closed terminals send them.

What is open is closed, finished work is kept, and the exit code is 128 plus the number of the signal.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """A signal has asked this process to end. Whatever handles a Ctrl-C handles it too.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """The signals that this process has received.

    Attributes:
        received: the first one; ``None`` before.
    """

    received: int | None = None

    @contextmanager
    def as_interrupts(self) -> Iterator[Signals]:
        """Raise :class:`Terminated` at the first signal; later ones change nothing, so that the clean-up completes."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        # One that is ignored stays so: nohup.
        numbers = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL]
        try:
            for number in numbers:
                signal.signal(number, self._handle)
            yield self
        finally:
            for number in numbers:
                signal.signal(number, signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            raise Terminated(number)
