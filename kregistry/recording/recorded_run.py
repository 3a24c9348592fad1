"""What the processes of one recorded run have left in a directory: one file of lines for each process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kregistry.bounded_input import lines_of
from kregistry.errors import StorageError, shorten
from kregistry.recording.recorded_call import CallLine, ProblemLine, TargetLine, read_line
from kregistry.recording.recording import Recording
from kregistry.target import TARGETS, Target, get_target


def recorded_target(devices: Iterable[Mapping[str, Any]]) -> Target:
    """The built-in target that equals the first device; the device itself if none does; an H100 without a device."""
    for device in devices:
        if device:
            found = Target(**device)
            known = (each for each in TARGETS.values() if _same_device(each, found))
            return next(known, found)
    return get_target("h100")


def _same_device(one: Target, other: Target) -> bool:
    """Whether two targets agree in everything that a kernel depends on."""
    parts = ("device_name", "compute_capability", "num_sms")
    return all(getattr(one, part) == getattr(other, part) for part in parts)


class RecordedRun:
    """The calls of all processes of a run.

    Attributes:
        recording: the calls.
        problems: DeepGEMM function -> why a call of it was not recorded.
        damaged: file name and number of each line that cannot be read, as ``12.jsonl:7: reason``; it is left out.
        processes: number of processes that made a call.
        target: the device that the calls ran on.

    Raises:
        StorageError: the directory cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self.recording = Recording()
        self.problems: dict[str, str] = {}
        self.damaged: list[str] = []
        self.processes = 0
        devices: list[Mapping[str, Any]] = []
        try:
            for file in sorted(directory.glob("*.jsonl")):
                self.processes += 1
                self._take(file, devices)
        except OSError as error:
            raise StorageError.from_oserror(error, directory) from error
        except ValueError as error:
            raise StorageError(str(directory), f"a recording is {error}") from error
        self.target = recorded_target(devices)

    def _take(self, file: Path, devices: list[Mapping[str, Any]]) -> None:
        for number, text in lines_of(file):
            try:
                if text is None:
                    raise ValueError("too long")
                if not text.endswith(b"\n"):
                    continue  # the process was killed while it wrote
                line = read_line(text)
                if isinstance(line, TargetLine):
                    Target(**line.device)
                    devices.append(line.device)
                elif isinstance(line, ProblemLine):
                    self.problems.setdefault(line.function, line.problem)
                elif isinstance(line, CallLine):
                    self.recording.add(line.kernel_type, line.shape, line.m)
            except (ValueError, TypeError) as error:
                self.damaged.append(f"{file.name}:{number}: {shorten(str(error))}")
