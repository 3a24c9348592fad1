"""Lines that another process writes to a descriptor, which may say nothing any more without ending."""

from __future__ import annotations

import os

from kregistry.bounded_input import is_readable


class Lines:
    """Reads lines, with a limit of time for each.

    Args:
        descriptor: of a pipe or a socket; whoever gives it closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._read = b""

    def next(self, seconds: float) -> str:
        """The next line with its end, or what is left without one; empty after that.

        Raises:
            TimeoutError: nothing has come for this long.
        """
        while b"\n" not in self._read:
            if not is_readable(self._descriptor, seconds):
                raise TimeoutError
            more = os.read(self._descriptor, 1 << 16)
            if not more:
                line, self._read = self._read, b""
                return line.decode()
            self._read += more
        line, end, self._read = self._read.partition(b"\n")
        return (line + end).decode()
