"""What the monitor does with a compile."""

from __future__ import annotations

import enum

from kregistry.errors import UnknownNameError


class Mode(enum.Enum):
    """The modes of vLLM's own JIT monitor, and ``count``."""

    #: The real compiler is called as if there were no monitor.
    OFF = "off"
    #: The compile is counted and reported to listeners.
    COUNT = "count"
    #: A warning with the calling site is logged as well.
    WARN = "warn"
    #: The compile is refused at once: DeepGEMM raises its own error, and the call does not wait for a compiler.
    ERROR = "error"

    @classmethod
    def parse(cls, value: Mode | str) -> Mode:
        """
        Raises:
            UnknownNameError: not one of the four words.
        """
        try:
            return cls(value)
        except ValueError:
            raise UnknownNameError("mode", str(value), tuple(each.value for each in cls)) from None
