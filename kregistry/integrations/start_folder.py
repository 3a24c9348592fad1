"""The folder of one start of an engine: how its processes learn what the background build does, and who is ready.

STORE/starts/NAME/request.json    what the engine said about itself, for the automatic manifest
                  manifest.yaml   the manifest that is built
                  target.json     the GPU that it is built for
                  status.json     how far the build is
                  pid             the build process
                  build.log       what the build process wrote
                  calls/          calls that wait for their kernels, see :mod:`waiting_calls`
                  ready           exists once the engine serves requests

Calls that were met after the build has ended are built by a further build process, whose folder is NAME.further-1.

:mod:`start_places` says where STORE/starts is if the store cannot be written.

The environment variable ``KREGISTRY_START`` names the folder, so every process that the engine starts finds it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from glob import escape
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

from kregistry.bounded_input import parse_json, read_bounded
from kregistry.integrations.start_places import in_the_first_place, places
from kregistry.store import Store, atomic
from kregistry.target import Target

VARIABLE = "KREGISTRY_START"
#: Stands before the number of a further build of the same start.
_FURTHER = ".further-"


def _read(path: Path) -> Any:
    """
    Raises:
        OSError, ValueError: there is no such file, or it is not JSON.
    """
    return parse_json(read_bounded(path))


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@frozen
class Request:
    """What an engine says about itself before it loads the model.

    Attributes:
        engine: ``sglang`` or ``vllm``.
        model: its name, for the manifest.
        config: the content of the model's config.json.
        deployment: arguments of :class:`kregistry.hf_config.deployment.Deployment`, without engine and target.
        largest: the last m of the engine's own warm-up; entries of the kernel types that it warms up end no earlier.
        warmed: these kernel types.
        automatic: whether a manifest is made of ``config``; otherwise only remembered calls and ``KREGISTRY_MANIFEST``
            are built.
        first_rows: the fewest rows with which a linear layer calls DeepGEMM, if that is fewer than the formulas say;
            0: it is as they say.
        psum_scales: forms of scale factors with which experts use DeepGEMM's psum layout.
    """

    engine: str
    model: str
    config: dict[str, Any] = field(factory=dict)
    deployment: dict[str, Any] = field(factory=dict)
    largest: int = 0
    warmed: tuple[str, ...] = field(default=(), converter=_texts)
    automatic: bool = True
    first_rows: int = 0
    psum_scales: tuple[str, ...] = field(default=(), converter=_texts)


@frozen
class Status:
    """How far the build process of a start is.

    Attributes:
        state: ``starting``, ``planning``, ``done`` or ``failed``.
        pid: the build process.
        kernels: how many kernels the manifest needs; set when it is done.
        built: how many of them were compiled by this start.
        seconds: duration of the build process so far.
        text: why it failed.
        left_out: entries that could not be planned, and why.
        unused: sources of the manifest that could not be used, and why.
        plan: the file of the plan; empty if there is none.
        surroundings: what that plan depends on besides what all processes of a start share, see
            :func:`kregistry.warm_up.prepared_plan.surroundings`.
    """

    state: str
    pid: int
    kernels: int = 0
    built: int = 0
    seconds: float = 0.0
    text: str = ""
    left_out: tuple[str, ...] = field(default=(), converter=_texts)
    unused: tuple[str, ...] = field(default=(), converter=_texts)
    plan: str = ""
    surroundings: dict[str, Any] = field(factory=dict)


@frozen
class StartFolder:
    """The folder of one start."""

    directory: Path

    @classmethod
    def create(cls, store: Store) -> StartFolder:
        """A new folder; the oldest ones are removed.

        Raises:
            OSError: neither the store nor a directory for temporary files can be written.
        """
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{atomic.scratch_name('start')}"
        return in_the_first_place(store, lambda parent: cls._new(parent / name))

    @classmethod
    def _new(cls, directory: Path) -> StartFolder:
        directory.mkdir()
        return cls(directory)

    @classmethod
    def shared(cls, store: Store, engine: str) -> tuple[StartFolder, bool]:
        """The folder that the processes of one engine share, and whether this process has just made it.

        Args:
            engine: what tells this engine from others that the same parent process starts, perhaps one after another.

        Raises:
            OSError: neither the store nor a directory for temporary files can be written.
        """
        owner = os.getppid()
        try:
            born = Path(f"/proc/{owner}/stat").read_text().rpartition(")")[2].split()[19]
        except (OSError, IndexError):
            born = "0"
        name = f"parent-{owner}-{born}-{engine}"
        for parent in places(store):
            if (parent / name).exists():
                return cls(parent / name), False
        return in_the_first_place(store, lambda parent: cls._publish(parent / name, None))

    @classmethod
    def _publish(cls, directory: Path, request: Request | None) -> tuple[StartFolder, bool]:
        """Make a folder that several processes share.

        It is there with a status from the first moment: the others may look before there is a build process. If this
        process dies before it has started one, nobody waits for it.
        """
        made = cls(directory.with_name(atomic.scratch_name(f".{directory.name}")))
        made.directory.mkdir()
        try:
            if request is not None:
                made.write_request(request)
            made.write_status(Status("starting", os.getpid()))
            return cls(directory), atomic.publish_directory(made.directory, directory)
        finally:
            shutil.rmtree(made.directory, ignore_errors=True)

    def following(self) -> tuple[StartFolder, bool]:
        """The folder of a further build of the same model, and whether this process has just made it.

        Every rank that asks for the one after this folder gets the same.

        Raises:
            OSError, StorageError: the folder cannot be written.
        """
        name, _, number = self.directory.name.partition(_FURTHER)
        directory = self.directory.with_name(f"{name}{_FURTHER}{int(number or 0) + 1}")
        if directory.exists():
            return StartFolder(directory), False
        return self._publish(directory, self.read_request())

    def all_builds(self) -> list[StartFolder]:
        """The first folder of a start, and those that follow it."""
        first = f"{self.directory.name}{_FURTHER}"
        numbers = [path.name.removeprefix(first) for path in self.directory.parent.glob(f"{escape(first)}*")]
        following = sorted(int(number) for number in numbers if number.isdecimal())  # not by text: 10 comes after 2
        return [self, *(StartFolder(self.directory.with_name(f"{first}{number}")) for number in following)]

    @classmethod
    def of_environment(cls) -> StartFolder | None:
        """The folder that another process of the engine has made, if there is one."""
        value = os.environ.get(VARIABLE)
        return cls(Path(value)) if value and Path(value).is_dir() else None

    @property
    def is_further(self) -> bool:
        """Whether it is that of a further build, see :meth:`following`."""
        return _FURTHER in self.directory.name

    @property
    def manifest(self) -> Path:
        return self.directory / "manifest.yaml"

    @property
    def log(self) -> Path:
        return self.directory / "build.log"

    @property
    def ready_file(self) -> Path:
        return self.directory / "ready"

    def _write(self, name: str, text: str) -> None:
        """The engine waits for some of these files, which mean nothing after a failure of the machine: no flush."""
        atomic.replace_file(self.directory / name, text.encode(), durable=False)

    def write_request(self, request: Request) -> None:
        text = json.dumps(asdict(request), indent=1, default=str)
        self._write("request.json", text)

    def read_request(self) -> Request | None:
        """What the engine said; ``None`` if the folder holds only a manifest."""
        path = self.directory / "request.json"
        return Request(**_read(path)) if path.exists() else None

    def write_manifest(self, text: str, target: Target) -> None:
        """Write what is built, and for which GPU."""
        self._write("target.json", json.dumps(asdict(target)))
        self._write(self.manifest.name, text)

    def read_target(self) -> Target:
        """The GPU that the build process has found. Equal in every process, as a plan's key needs it."""
        return Target(**_read(self.directory / "target.json"))

    def write_status(self, status: Status) -> None:
        self._write("status.json", json.dumps(asdict(status)))

    def read_status(self) -> Status | None:
        """How far the build process is; ``None`` before it has said anything."""
        try:
            return Status(**_read(self.directory / "status.json"))
        except (OSError, ValueError, TypeError):
            return None

    def write_pid(self, pid: int) -> None:
        """Keep the number of the build process, which may end before it writes a status."""
        (self.directory / "pid").write_text(str(pid))

    def read_pid(self) -> int:
        """The number of the build process; 0 before it is started."""
        try:
            return int(read_bounded(self.directory / "pid", 20) or 0)
        except (OSError, ValueError):
            return 0

    def mark_ready(self) -> None:
        """Say that the engine serves requests from now on."""
        self.ready_file.touch()

    def is_ready(self) -> bool:
        return self.ready_file.exists()
