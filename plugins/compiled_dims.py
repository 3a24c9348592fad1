"""``compiled_dims``: which of m, n and k DeepGEMM compiles into a kernel as constants; an argument of all its GEMMs.

Other sets are other kernels. With ``m``, or the dimension that is summed over at run time, each value has one of its
own.
"""

from __future__ import annotations

from typing import Any

from kregistry import BLOCK_SIZE_MULTIPLE_OF, IGNORE_COMPILE_DIMS, Arguments, Choice, Shape, Value

_LETTERS = "mnk"
NAME = "compiled_dims"


def compiled_dims(default: str) -> Choice:
    """The dimension, for a function with this default."""
    return Choice(
        NAME,
        "which of m, n and k are compiled into the kernel; '' for none",
        ("", "m", "n", "k", "mn", "mk", "nk", "mnk"),
        default=default,
        hidden_at_default=True,
    )


#: Of the dense GEMMs.
DENSE = compiled_dims("")
#: Of the m-grouped GEMMs, and of the dense one that leaves the middle of each head alone.
GROUPED = compiled_dims("nk")
#: Of the k-grouped GEMMs.
K_GROUPED = compiled_dims("mn")

#: Settings of DeepGEMM 0.2 that its choice of a GEMM kernel follows.
SETTINGS = (BLOCK_SIZE_MULTIPLE_OF, IGNORE_COMPILE_DIMS)


def keywords(shape: Shape, dimension: Choice) -> dict[str, Any]:
    """The argument of a call, where it is not DeepGEMM's default."""
    value = shape[NAME]
    return {} if value == dimension.default else {NAME: value}


def read(call: Arguments, dimension: Choice) -> dict[str, Value]:
    """The dimension of a real call, where it is not DeepGEMM's default; the order of the letters does not matter."""
    found = "".join(letter for letter in _LETTERS if letter in call.compiled_dims)
    return {} if found == dimension.default else {NAME: found}
