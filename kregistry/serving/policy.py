"""What happens to a call, before sealing, that no covered entry foresees."""

from __future__ import annotations

import enum

from kregistry.errors import UnknownNameError


class Unseen(enum.Enum):
    """The policy for unseen calls."""

    #: Let DeepGEMM compile.
    COMPILE = "compile"
    #: Let DeepGEMM compile, and tell listeners of ``kregistry_unseen_call`` and the log, once for each call.
    WARN = "warn"
    #: Refuse: :class:`~kregistry.errors.UnseenCallError`.
    ERROR = "error"

    @classmethod
    def parse(cls, value: Unseen | str) -> Unseen:
        """
        Raises:
            UnknownNameError: not one of the three words.
        """
        try:
            return cls(value)
        except ValueError:
            raise UnknownNameError("policy", str(value), tuple(each.value for each in cls)) from None
