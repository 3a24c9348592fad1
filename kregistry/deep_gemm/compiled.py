"""The kernels that are in DeepGEMM's cache directories."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def compiled_kernels(directories: Iterable[Path]) -> set[Path]:
    """The directories of all kernels in these directories; each holds a cubin."""
    return {cubin.parent for directory in directories for cubin in directory.glob("*/*.cubin")}
