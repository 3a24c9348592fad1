"""What the measurements share: the description of the machine, and the CPU seconds of child processes."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def children_seconds() -> float:
    """CPU seconds of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def describe_machine() -> dict[str, Any]:
    import torch

    return {"card": torch.cuda.get_device_name(0), "torch": torch.__version__, **describe_host()}


def describe_host() -> dict[str, Any]:
    """The part that a machine without a GPU also has."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "commit": os.environ.get("KREGISTRY_COMMIT", commit_of(ROOT)),
    }


def commit_of(checkout: Path) -> str:
    """Empty if the directory is no clone, although it may be in one."""
    if not (checkout / ".git").exists():
        return ""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
