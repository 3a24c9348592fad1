"""How much device memory a warm-up may use."""

from __future__ import annotations

import re

from attrs import frozen

from kregistry.errors import InputError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


@frozen
class MemoryBudget:
    """A fraction of the memory that is free when warm-up starts, or a number of bytes."""

    fraction: float | None = None
    nbytes: int | None = None

    @classmethod
    def parse(cls, value: float | int | str) -> MemoryBudget:
        """``0.5``, ``"50%"``: a fraction of the free memory; ``2 * 1024**3``, ``"2GiB"``: bytes.

        Raises:
            InputError: neither.
        """
        if isinstance(value, str):
            match = re.fullmatch(r"\s*([0-9.]+)\s*(%|[KMG]?I?B?)\s*", value.upper())
            if match is None or match.group(1).count(".") > 1 or match.group(1) == ".":
                raise InputError(f"memory budget: expected e.g. 0.5, 50% or 2GiB, got {value!r}")
            number, unit = float(match.group(1)), match.group(2)
            if unit == "%":
                value = number / 100
            elif unit in _UNITS and (unit or number > 1):
                return cls(nbytes=int(number * _UNITS[unit]))
            else:
                value = number
        if isinstance(value, float) and 0 < value <= 1:
            return cls(fraction=value)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return cls(nbytes=value)
        raise InputError(f"memory budget: expected a fraction in (0, 1] or a positive number of bytes, got {value!r}")

    def limit(self, free_bytes: int) -> int:
        """Bytes that may be used."""
        if self.nbytes is not None:
            return min(self.nbytes, free_bytes)
        return int(free_bytes * (self.fraction or 0.0))
