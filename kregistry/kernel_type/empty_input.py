"""EmptyInput: the declared behaviour of a launch at run-time value 0."""

from __future__ import annotations

import enum


class EmptyInput(enum.Enum):
    """The behaviour of a launch at run-time value 0."""

    #: Return without a launch; the outputs are empty or stay unchanged.
    RETURN = "return"
    #: Return without a launch, after writing zeros to the outputs (an empty sum is zero).
    ZERO_OUTPUTS = "zero-outputs"
    #: Launch a kernel for an empty input too.
    LAUNCH = "launch"
