"""DeepGEMM's process-wide settings as dimensions, and the scope that sets them around the calls of a shape."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kregistry import Dimension, Shape, ShapeError

#: DeepGEMM's default on every arch.
_MK_ALIGNMENT = 128

MK_ALIGNMENT = Dimension(
    name="mk_alignment",
    meaning="rows that each group is aligned to: deep_gemm.set_mk_alignment_for_contiguous_layout()",
    unit="rows",
    default=_MK_ALIGNMENT,
    multiple_of=32,
    minimum=32,
)


@contextmanager
def mk_alignment(shape: Shape) -> Iterator[None]:
    """The alignment of a shape is in force; what was in force before returns afterwards."""
    import deep_gemm

    before = deep_gemm.get_mk_alignment_for_contiguous_layout()
    deep_gemm.set_mk_alignment_for_contiguous_layout(shape.mk_alignment)
    try:
        yield
    finally:
        deep_gemm.set_mk_alignment_for_contiguous_layout(before)


def current_mk_alignment() -> int:
    """What the process uses now; a process that has not imported DeepGEMM has not changed it."""
    deep_gemm = sys.modules.get("deep_gemm")
    return int(deep_gemm.get_mk_alignment_for_contiguous_layout()) if deep_gemm else _MK_ALIGNMENT


def check_version(kernel_type: str, dimension: str, value: str, least: str) -> None:
    """Refuse a value that DeepGEMM takes since a later version than the installed one.

    Raises:
        ShapeError: naming both versions.
    """
    import deep_gemm
    from packaging.version import Version

    found = getattr(deep_gemm, "__version__", "0")
    if Version(found) < Version(least):
        raise ShapeError(kernel_type, dimension, f"{value} needs DeepGEMM >= {least}, found {found}", "leave it out")
