"""Reads what the stub GPU has recorded; works only in a process that has the stub preloaded."""

from __future__ import annotations

import ctypes
from itertools import pairwise
from pathlib import Path
from typing import Any

from kregistry.stub.library import HOST_ACCESS_EXIT_CODE


class Recorder:
    """The launches of one sweep.

    Call :attr:`mark` before each call and once after the last one; then ask for :meth:`launches`.
    """

    def __init__(self) -> None:
        table = ctypes.POINTER(ctypes.c_uint32)
        self._launch_count = _stub_function("launch_count", ctypes.c_ulong)
        self._mark_count = _stub_function("mark_count", ctypes.c_ulong)
        self._launches = _stub_function("launches", table)
        self._marks = _stub_function("marks", table)
        self._library_file = _stub_function("library_file", ctypes.c_char_p, ctypes.c_uint)
        #: How often device memory was copied to the host since the last reset.
        self.host_reads = _stub_function("host_reads", ctypes.c_ulong)
        #: How often the host waited for the device since the last reset.
        self.host_waits = _stub_function("host_waits", ctypes.c_ulong)
        #: How many matrix products cuBLASLt was asked to compute since the last reset.
        self.cublaslt_calls = _stub_function("cublaslt_calls", ctypes.c_ulong)
        #: Count the launches on streams other than the one with this handle, until the next reset.
        self.expect_stream = _stub_function("expect_stream", None, ctypes.c_void_p)
        self.foreign_launches = _stub_function("foreign_launches", ctypes.c_ulong)
        self.library_count = _stub_function("library_count", ctypes.c_uint)
        self.mark = _stub_function("mark", None)
        self.reset = _stub_function("reset", None)
        _stub_function("watch_faults", None, ctypes.c_int)(HOST_ACCESS_EXIT_CODE)
        self.reset()

    def library_file(self, index: int) -> Path:
        """The cubin file that a library was loaded from."""
        return Path(self._library_file(index).decode())

    def launches(self) -> list[bytes]:
        """For each mark except the last: the numbers of the libraries launched until the next mark, as raw uint32."""
        raw = ctypes.string_at(self._launches(), 4 * self._launch_count())
        bounds = self._marks()[: self._mark_count()]
        return [raw[4 * a : 4 * b] for a, b in pairwise(bounds)]


def _stub_function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the preloaded library, which is linked into the process."""
    function = getattr(ctypes.CDLL(None), f"kregistry_stub_{name}")
    function.restype = result
    function.argtypes = arguments
    return function
