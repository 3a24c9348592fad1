"""Reads what the stub GPU has recorded; works only in a process that has the stub preloaded."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from kregistry.stub.library import HOST_ACCESS_EXIT_CODE
from kregistry.stub.segments import Run


class Recorder:
    """The launches of one sweep.

    Call :attr:`mark` before each call and once after the last one; then ask for :meth:`launches`.
    """

    def __init__(self) -> None:
        table = ctypes.POINTER(ctypes.c_uint32)
        self._launch_count = stub_function("launch_count", ctypes.c_ulong)
        self._mark_count = stub_function("mark_count", ctypes.c_ulong)
        self._launches = stub_function("launches", table)
        self._marks = stub_function("marks", table)
        self._changes = stub_function("changes", ctypes.c_ulong, table)
        self._library_file = stub_function("library_file", ctypes.c_char_p, ctypes.c_uint)
        #: How often device memory was copied to the host since the last reset.
        self.host_reads = stub_function("host_reads", ctypes.c_ulong)
        #: How often the host waited for the device since the last reset.
        self.host_waits = stub_function("host_waits", ctypes.c_ulong)
        #: How many matrix products cuBLASLt was asked to compute since the last reset.
        self.cublaslt_calls = stub_function("cublaslt_calls", ctypes.c_ulong)
        #: Count the launches on streams other than the one with this handle, until the next reset.
        self.expect_stream = stub_function("expect_stream", None, ctypes.c_void_p)
        self.foreign_launches = stub_function("foreign_launches", ctypes.c_ulong)
        self.library_count = stub_function("library_count", ctypes.c_uint)
        self.mark = stub_function("mark", None)
        self.reset = stub_function("reset", None)
        #: Forget the launches and marks only.
        self.reset_launches = stub_function("reset_launches", None)
        stub_function("watch_faults", None, ctypes.c_int)(HOST_ACCESS_EXIT_CODE)
        self.reset()

    def library_file(self, index: int) -> Path:
        """The cubin file that a library was loaded from."""
        return Path(self._library_file(index).decode())

    def launches(self) -> list[bytes]:
        """For each mark except the last: the numbers of the libraries launched until the next mark, as raw uint32."""
        raw = ctypes.string_at(self._launches(), 4 * self._launch_count())
        bounds = self._marks()[: self._mark_count()]
        return [raw[4 * a : 4 * b] for a, b in pairwise(bounds)]

    def runs(self, values: Sequence[int]) -> list[Run[bytes]]:
        """The same, as runs over the values at which the marks were set."""
        numbers = (ctypes.c_uint32 * len(values))()
        count = self._changes(numbers)
        starts = numbers[:count]
        marks, launches = self._marks(), ctypes.addressof(self._launches().contents)
        found: list[Run[bytes]] = []
        for start, after in pairwise([*starts, len(values)]):
            raw = ctypes.string_at(launches + 4 * marks[start], 4 * (marks[start + 1] - marks[start]))
            found.append(Run(values[start], values[after - 1], raw))
        return found


def stub_function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the preloaded library, which is linked into the process."""
    function = getattr(ctypes.CDLL(None), f"kregistry_stub_{name}")
    function.restype = result
    function.argtypes = arguments
    return function
