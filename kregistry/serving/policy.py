"""What happens, before sealing, to a call that no entry covers."""

from __future__ import annotations

import enum

from kregistry.errors import UnknownNameError


class Unseen(enum.Enum):
    """The policy for unseen calls."""

    #: Let DeepGEMM compile.
    COMPILE = "compile"
    #: Let DeepGEMM compile; log a warning and call ``kregistry_unseen_call``, once for each distinct call.
    WARN = "warn"
    #: Raise :class:`~kregistry.errors.UnseenCallError`.
    ERROR = "error"

    @classmethod
    def parse(cls, value: Unseen | str) -> Unseen:
        """The policy of that name.

        Raises:
            UnknownNameError: ``value`` is none of the three names.
        """
        try:
            return cls(value)
        except ValueError:
            raise UnknownNameError("policy", str(value), tuple(each.value for each in cls)) from None
