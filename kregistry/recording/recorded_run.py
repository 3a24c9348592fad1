"""Recordings as files: the lines that processes leave, and the target of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kregistry.errors import StorageError
from kregistry.recording.recording import Key, Recording
from kregistry.target import TARGETS, Target, get_target


def recorded_target(devices: Iterable[Mapping[str, Any]]) -> Target:
    """The built-in target that the first device is; the device itself, if it is none; an H100 if there was none."""
    for device in devices:
        if device:
            found = Target(**device)
            known = (each for each in TARGETS.values() if _same_device(each, found))
            return next(known, found)
    return get_target("h100")


def _same_device(one: Target, other: Target) -> bool:
    """As far as any kernel depends on it."""
    parts = ("device_name", "compute_capability", "num_sms")
    return all(getattr(one, part) == getattr(other, part) for part in parts)


def call_line(key: Key, m: int) -> bytes:
    """One call, as a recorded process leaves it."""
    return json.dumps({"type": key[0], "shape": dict(key[1]), "m": m}).encode() + b"\n"


def problem_line(function: str, text: str) -> bytes:
    """A call that no kernel type could read."""
    return json.dumps({"function": function, "problem": text}).encode() + b"\n"


def target_line(device: Mapping[str, Any]) -> bytes:
    """The device of a recorded process."""
    return json.dumps({"target": device}).encode() + b"\n"


class RecordedRun:
    """What the processes of one run have left in a directory."""

    def __init__(self, directory: Path) -> None:
        self.recording = Recording()
        self.problems: dict[str, str] = {}
        self.processes = 0
        devices: list[Mapping[str, Any]] = []
        try:
            for file in sorted(directory.glob("*.jsonl")):
                self.processes += 1
                for line in file.read_bytes().splitlines(keepends=True):
                    if line.endswith(b"\n"):  # a process that was killed may leave half a line
                        self._take(json.loads(line), devices)
        except OSError as error:
            raise StorageError.from_oserror(error, directory) from error
        self.target = recorded_target(devices)

    def _take(self, line: Mapping[str, Any], devices: list[Mapping[str, Any]]) -> None:
        if "target" in line:
            devices.append(line["target"])
        elif "problem" in line:
            self.problems.setdefault(line["function"], line["problem"])
        else:
            self.recording.add(line["type"], line["shape"], line["m"])
