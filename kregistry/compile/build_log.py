"""Logs of builds: what was done when, kept beside the store for `kregistry report`.

STORE/builds/ID.json    one build; ID is the time of its start and its process
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

from kregistry.bounded_input import parse_json, read_bounded
from kregistry.compile.build_record import BuildRecord
from kregistry.compile.build_report import BuildReport
from kregistry.deep_gemm.environment import PREFIXES
from kregistry.errors import InputError, UnknownNameError, storage_errors
from kregistry.events.tasks import Task
from kregistry.machine import available_cores
from kregistry.manifest import Manifest
from kregistry.store import atomic

LOG_VERSION = 1
#: As many logs are kept; older ones are removed.
_KEPT = 50
_ID = re.compile(r"\d{8}T\d{6}-\d+")


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
            f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(started))}-{os.getpid()}",
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
        try:
            if content.pop("log_version") != LOG_VERSION:
                raise ValueError("another version of kregistry wrote it")
            tasks = tuple(Task(**{**task, "kernels": tuple(task["kernels"])}) for task in content.pop("tasks"))
            kernels = {
                name: LoggedKernel(each["tier"], each["seconds"], each["bytes"])
                for name, each in content.pop("kernels").items()
            }
            cpu = tuple((float(time), float(cores)) for time, cores in content.pop("cpu"))
            models = tuple(content.pop("models"))
            return cls(**content, models=models, tasks=tasks, kernels=kernels, cpu=cpu)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the log of a build: {error}") from error


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
        except InputError:
            continue
        if log.fingerprint == fingerprint:
            newest = newest or log
            if any(each.tier == "compiled" for each in log.kernels.values()):
                return log
    return newest
