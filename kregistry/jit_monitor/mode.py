"""What the monitor does with a compile."""

from __future__ import annotations

import enum

from kregistry.errors import UnknownNameError


class Mode(enum.Enum):
    """The words that vLLM uses for its own JIT monitor, and ``count``."""

    #: Nothing: the real compiler is called as if there were no monitor.
    OFF = "off"
    #: Count and tell listeners.
    COUNT = "count"
    #: Also log a warning, with the calling site.
    WARN = "warn"
    #: Refuse at once: DeepGEMM raises its own error in place of a stall.
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
