"""Logs of builds: what was done when, kept beside the store for `kregistry report`.

STORE/builds/ID.json    one build; ID is the time of its start, and a random number
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import cattrs
from attrs import asdict, field, frozen
from cattrs.gen import make_dict_structure_fn, override

from kregistry.bounded_input import parse_json, read_bounded
from kregistry.compile.build_record import BuildRecord
from kregistry.compile.build_report import BuildReport
from kregistry.deep_gemm.environment import PREFIXES
from kregistry.errors import InputError, StorageError, UnknownNameError, quoted, shorten, storage_errors
from kregistry.events.tasks import STAGES, Task
from kregistry.machine import available_cores
from kregistry.manifest import Manifest
from kregistry.store import atomic

LOG_VERSION = 1
#: Times beyond this, in the year 5138, are no times.
_MAX_SECONDS = 1e11
#: As many logs are kept; older ones are removed.
_KEPT = 50
#: Earlier versions wrote no microseconds, and the number of the process.
_ID = re.compile(r"\d{8}T\d{6}(\.\d{6})?-[0-9a-f]+", re.ASCII)


@frozen
class LoggedKernel:
    """A kernel that a build compiled (``tier`` is ``compiled``), found in the store, or found not to compile."""

    tier: str
    seconds: float = 0.0
    nbytes: int = 0


@frozen
class BuildLog:
    """One build.

    Attributes:
        id: its name.
        kregistry: version of kregistry.
        started: seconds since the epoch.
        seconds: wall time.
        jobs, cores: compilers at once; cores of the machine.
        models, target, versions, fingerprint: what was built.
        reused: whether the plan was made by an earlier command.
        environment: DeepGEMM's environment variables that were set.
        cache_directory: the JIT cache.
        tasks: what the workers did.
        kernels: id -> outcome.
        cpu: samples of (seconds since the start, cores in use on the machine).
    """

    id: str
    kregistry: str
    started: float
    seconds: float
    jobs: int
    cores: int
    models: tuple[str, ...]
    target: str
    versions: Mapping[str, str]
    fingerprint: str
    reused: bool
    environment: Mapping[str, str]
    cache_directory: str
    tasks: tuple[Task, ...]
    kernels: Mapping[str, LoggedKernel]
    cpu: tuple[tuple[float, float], ...] = field(default=())

    @classmethod
    def of_build(
        cls,
        manifest: Manifest,
        report: BuildReport,
        record: BuildRecord,
        jobs: int,
        started: float,
        cpu: tuple[tuple[float, float], ...],
        environment: Mapping[str, str] = os.environ,
    ) -> BuildLog:
        """The log of a build that has ended."""
        found = set(record.found_keys)
        kernels = {kernel.id: LoggedKernel("store") for kernel in report.plan.kernels.values() if kernel.key in found}
        kernels |= {each.kernel.id: LoggedKernel("compiled", each.seconds, each.nbytes) for each in report.compiled}
        kernels |= {each.kernel.id: LoggedKernel("broken") for each in report.failed}
        return cls(
            _new_id(started),
            metadata.version("kregistry"),
            started,
            report.seconds,
            jobs,
            available_cores(),
            manifest.models,
            report.plan.target.name,
            report.plan.versions.to_json(),
            report.plan.fingerprint,
            report.plan.reused,
            {name: value for name, value in sorted(environment.items()) if name.startswith(PREFIXES)},
            report.cache_directory,
            tuple(sorted(record.tasks, key=lambda task: task.started)),
            kernels,
            cpu,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "log_version": LOG_VERSION,
            **asdict(self, filter=lambda attribute, _: attribute.name not in ("tasks", "kernels")),
            "started": round(self.started, 3),
            "seconds": round(self.seconds, 3),
            "tasks": [task.to_json() for task in self.tasks],
            "kernels": {
                name: {"tier": each.tier, "seconds": round(each.seconds, 3), "bytes": each.nbytes}
                for name, each in sorted(self.kernels.items())
            },
        }

    @classmethod
    def from_json(cls, content: Any) -> BuildLog:
        """
        Raises:
            ValueError: it is no log of this version.
        """
        if not isinstance(content, dict) or content.get("log_version") != LOG_VERSION:
            raise ValueError("another version of kregistry wrote it, or it is not the log of a build")
        try:
            made = _converter().structure(content, cls)
        except Exception as error:  # cattrs raises whatever the structuring of some value raises
            raise ValueError(f"not the log of a build: {shorten(str(error))}") from error
        numbers = (made.started, made.seconds, *(number for sample in made.cpu for number in sample))
        times = [number for task in made.tasks for number in (task.started, task.seconds or 0.0)]
        if not all(0 <= number < _MAX_SECONDS for number in (*numbers, *times)):
            raise ValueError("not the log of a build: a time is not possible")
        if made.jobs < 1 or made.cores < 1 or any(task.stage not in STAGES for task in made.tasks):
            raise ValueError("not the log of a build: its jobs, its cores or the stage of a task are not possible")
        return made


def _new_id(started: float) -> str:
    """A name that no other build has, on whichever machine; names sort as the builds were started.

    Args:
        started: in seconds since the epoch.
    """
    return f"{datetime.fromtimestamp(started, timezone.utc):%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex[:8]}"


def write_build_log(store_directory: Path, log: BuildLog) -> Path | None:
    """Keep a log, and remove the oldest ones. ``None`` if it cannot be written: no command needs it."""
    directory = store_directory / "builds"
    path = directory / f"{log.id}.json"
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
        atomic.replace_file(path, (json.dumps(log.to_json()) + "\n").encode())
        for old in build_ids(store_directory)[:-_KEPT]:
            (directory / f"{old}.json").unlink(missing_ok=True)
        return path
    return None


def build_ids(store_directory: Path) -> list[str]:
    """The ids of all builds whose logs are kept, oldest first."""
    return sorted(path.stem for path in (store_directory / "builds").glob("*.json") if _ID.fullmatch(path.stem))


def read_build_log(store_directory: Path, id: str) -> BuildLog:
    """The log of one build.

    Raises:
        UnknownNameError: there is no such build.
        StorageError: the file cannot be read.
        InputError: its content is damaged.
    """
    known = build_ids(store_directory)
    if id not in known:
        raise UnknownNameError("build", id, tuple(reversed(known)))
    path = store_directory / "builds" / f"{id}.json"
    try:
        with storage_errors(path):
            return BuildLog.from_json(parse_json(read_bounded(path)))
    except ValueError as error:
        raise InputError(f"{path}: {error}", "remove the file, or choose another build with --build") from error


def latest_build_log(store_directory: Path, fingerprint: str) -> BuildLog | None:
    """The newest build of a plan in which something was compiled, or else the newest one; ``None`` if there is none."""
    newest: BuildLog | None = None
    for id in reversed(build_ids(store_directory)):
        try:
            log = read_build_log(store_directory, id)
        except (InputError, StorageError):  # damaged, or no file
            continue
        if log.fingerprint == fingerprint:
            newest = newest or log
            if any(each.tier == "compiled" for each in log.kernels.values()):
                return log
    return newest


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    for kind in (int, str, bool):
        converter.register_structure_hook(kind, _strict)
    converter.register_structure_hook(float, lambda value, _: float(_strict(value, (int, float))))
    converter.register_structure_hook_func(
        lambda kind: kind == tuple[str, ...],  # cattrs would take a string for a list of letters
        lambda value, _: tuple(_strict(each, str) for each in _strict(value, (list, tuple))),
    )
    logged = make_dict_structure_fn(LoggedKernel, converter, nbytes=override(rename="bytes"))
    converter.register_structure_hook(LoggedKernel, logged)
    return converter


def _strict(value: Any, kind: Any) -> Any:
    """Take a value of this type only; cattrs would convert it."""
    if type(value) not in (kind if isinstance(kind, tuple) else (kind,)):
        raise ValueError(f"{quoted(value)} has another type than expected")
    return value
