"""The content of a directory as one value, to see that nothing was written."""

from __future__ import annotations

from pathlib import Path


def tree(directory: Path) -> dict[str, bytes | str]:
    """Each path below a directory with its content: the bytes of a file, the kind of anything else."""
    found: dict[str, bytes | str] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        found[name] = path.read_bytes() if path.is_file() and not path.is_symlink() else f"{path.stat().st_mode:o}"
    return found
