"""Memory budget: how much device memory a warm-up may use."""

from __future__ import annotations

import re

from attrs import frozen

from kregistry.errors import InputError, quoted

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


@frozen
class MemoryBudget:
    """A fraction of the memory that is free when the launches start, or a number of bytes."""

    fraction: float | None = None
    nbytes: int | None = None

    @classmethod
    def parse(cls, value: float | int | str) -> MemoryBudget:
        """``0.5``, ``"50%"``: a fraction of the free memory; ``2 * 1024**3``, ``"2GiB"``: bytes.

        Raises:
            InputError: the value is neither.
        """
        if isinstance(value, str):
            return cls._parse_text(value)
        if isinstance(value, float) and 0 < value <= 1:
            return cls(fraction=value)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return cls(nbytes=value)
        raise _refused(value)

    @classmethod
    def _parse_text(cls, text: str) -> MemoryBudget:
        match = re.fullmatch(r"\s*(\d+|\d*\.\d+)\s*(%|[A-Za-z]*)\s*", text)
        if match is None or len(text) > 40 or match.group(2).upper() not in (*_UNITS, "%", ""):
            raise _refused(text)
        number, unit = float(match.group(1)), match.group(2).upper()
        fraction = number / 100 if unit == "%" else number
        if unit in ("%", "") and 0 < fraction <= 1:
            return cls(fraction=fraction)
        if unit == "" and number.is_integer() and number > 0:
            return cls(nbytes=int(number))
        if unit in _UNITS and number * _UNITS[unit] >= 1:
            return cls(nbytes=int(number * _UNITS[unit]))
        raise _refused(text)

    def limit(self, free_bytes: int) -> int:
        """Bytes that may be used, if ``free_bytes`` are free."""
        if self.nbytes is not None:
            return min(self.nbytes, free_bytes)
        return int(free_bytes * (self.fraction or 0.0))


def _refused(value: object) -> InputError:
    expected = "expected a fraction in (0, 1], a percentage or a positive number of bytes"
    return InputError(
        f"memory budget: {expected}, got {quoted(value)}",
        "e.g. 0.5, 50% or 2GiB; units: B, KB, MB, GB, KiB, MiB, GiB",
    )
