"""The CPU cores of this machine, and how many of them a dry run gets."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def default_processes(cores: int) -> int:
    """Processes of a dry run: a quarter of the cores already finds kernels faster than the rest can compile them."""
    return min(cores, max(2, cores // 4))
