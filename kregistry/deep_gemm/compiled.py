"""The kernels that DeepGEMM compiles into its cache directories while this process watches."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from kregistry.store.listing import matching


class CompileWatch:
    """Remembers what the directories hold, and finds the kernels that were added or written again since then.

    A server's start does this twice. So a kernel's directory is not listed: its modification time says whether a file
    in it was added or replaced.
    """

    def __init__(self, directories: Iterable[Path]) -> None:
        self._directories = tuple(directories)
        self._before = self._times()

    def compiled(self) -> set[Path]:
        """The directories of the kernels that are new or changed; each holds a cubin."""
        changed = (path for path, time in self._times().items() if self._before.get(path) != time)
        return {path for path in map(Path, changed) if any(matching(path, "*.cubin"))}

    def _times(self) -> dict[str, int]:
        """The modification time of each kernel's directory, in nanoseconds."""
        times: dict[str, int] = {}
        for directory in self._directories:
            with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
                for each in entries:
                    with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                        times[each.path] = each.stat().st_mtime_ns
        return times
