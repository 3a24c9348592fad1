"""What a launch does when the run-time dimension is 0, as a kernel type declares it."""

from __future__ import annotations

import enum


class EmptyInput(enum.Enum):
    """What a launch does when the run-time dimension is 0."""

    #: Return without a launch; outputs have no element, or stay as they are.
    RETURN = "return"
    #: Return without a launch, after writing zeros to the outputs (an empty sum is zero).
    ZERO_OUTPUTS = "zero-outputs"
    #: DeepGEMM launches a kernel for an empty input too.
    LAUNCH = "launch"
