"""Makes the calls of a kernel type natively: DeepGEMM's host code decides each, without Python between two of them.

Two calls are made by the kernel type and noted: they say which sizes and integers depend on the value. The calls at
all other values are made by a loop in C (``cuda/calls.c``). Some of them are compared with those of the kernel type.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence

from kregistry.stub.recorder import stub_function

#: Values below this are left to the kernel type: torch gives a size of 0 or 1 strides of its own.
FIRST = 2
#: Each call of this many is compared. A prime, so that every remainder is met.
_COMPARED = 127
_CHUNK = 1024


class NotRepeatable(Exception):
    """The calls of a kernel type are not what two of them let expect: Python makes them all."""


class RepeatedCalls:
    """One call, made again for other values.

    Args:
        execute: makes the call of the kernel type at a value.

    Raises:
        NotRepeatable: this DeepGEMM is not called through TVM FFI, or two calls differ in more than linear sizes.
    """

    def __init__(self, execute: Callable[[int], object], first: int, last: int) -> None:
        try:
            self._note = stub_function("note", None, ctypes.c_int)
            self._noted = stub_function("noted", ctypes.c_int)
            linear = stub_function("linear", ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
            self._agrees = stub_function("agrees", ctypes.c_int, ctypes.c_int64)
            self._repeat = stub_function("repeat", ctypes.c_long, ctypes.c_int64, ctypes.c_int64, ctypes.c_long)
            self._failed = stub_function("failed", ctypes.POINTER(ctypes.c_int64))
        except AttributeError as error:
            raise NotRepeatable("the library that repeats calls is not loaded") from error
        self._execute = execute
        for sample, value in enumerate((first, last)):
            if not self._call(sample, value) or not self._noted():
                raise NotRepeatable(f"the call at {value} cannot be noted")
        if not linear(first, last):
            raise NotRepeatable(f"the calls at {first} and {last} differ in more than sizes that grow with them")

    def make(self, values: range, announce: Callable[[], None]) -> list[int]:
        """Make the call at each value, with a mark before it; ``announce`` is called from time to time.

        Returns:
            the values at which DeepGEMM raises an error.
        """
        failed: list[int] = []
        for start in range(0, len(values), _CHUNK):
            chunk = values[start : start + _CHUNK]
            count = self._repeat(chunk[0], chunk.step, len(chunk))
            failed += self._failed()[:count]
            announce()
        return failed

    def check(self, values: Iterable[int]) -> None:
        """Compare the calls at some values with those of the kernel type, at which it must raise no error.

        Raises:
            NotRepeatable: one of them is another call.
        """
        for value in values:
            if not self._call(2, value) or not self._agrees(value):
                raise NotRepeatable(f"the kernel type makes another call at {value}")

    def _call(self, sample: int, value: int) -> bool:
        """Whether the kernel type makes its call without an error; it is noted."""
        self._note(sample)
        try:
            self._execute(value)
        except Exception:
            self._note(-1)
            return False
        return True


def compared(values: Sequence[int], ends: Iterable[int]) -> list[int]:
    """Which calls are compared: at every 127th value, at powers of two and beside them, and at the ends of segments."""
    wanted = {*values[::_COMPARED], values[-1], *ends}
    power = 1
    while power <= values[-1]:
        wanted |= {power - 1, power, power + 1}
        power *= 2
    return [value for value in sorted(wanted) if value in values]
