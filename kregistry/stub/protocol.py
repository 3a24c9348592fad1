"""The protocol between a process on the stub GPU and its parent: JSON objects, one a line.

The parent sends jobs, and the process sends events. Its first event is :class:`Ready`. Each job is answered by one
event (:class:`Swept` or :class:`Probed`), after a :class:`KernelLoaded` for every kernel that is new in this process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import asdict, frozen

from kregistry.kernel_type import Value
from kregistry.stub.probed import Probed
from kregistry.stub.refusing import RefusalCause
from kregistry.stub.segments import Run
from kregistry.target import Target

#: Name of the file with a :class:`StartOrder`, in the home of a process.
ORDER_FILE = "order.json"


@frozen
class StartOrder:
    """What a process needs to know before its first job.

    Attributes:
        target: the GPU that it sees.
        path: the module search path.
    """

    target: Target
    path: list[str]

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> StartOrder:
        content = json.loads(text)
        return cls(Target(**content["target"]), content["path"])


@frozen
class SweepJob:
    """Launch a kernel type once at every value ``start``, ``start + step``, ... ``stop``, which is included.

    Attributes:
        kernel_type: pickled, see :mod:`kregistry.stub.pickling`.
        shape: its dimensions.
    """

    kernel_type: str
    shape: Mapping[str, Value]
    start: int
    stop: int
    step: int


@frozen
class ProbeJob:
    """Watch single launches of a kernel type at each of some values.

    Attributes:
        kernel_type: pickled.
        shape: its dimensions.
        values: run-time values.
        keywords: optional arguments to add to each call, or to give another value in it.
    """

    kernel_type: str
    shape: Mapping[str, Value]
    values: tuple[int, ...]
    keywords: Mapping[str, Any] = {}


@frozen
class Ready:
    """torch and DeepGEMM are loaded."""


@frozen
class KernelLoaded:
    """DeepGEMM has loaded a kernel for the first time in this process.

    Attributes:
        library: the number by which later answers name it.
        file: the path of its cubin.
    """

    library: int
    file: str


@frozen
class Swept:
    """The answer to a :class:`SweepJob`.

    Attributes:
        segments: libraries launched, as runs over the values; values that are refused are in none.
        refusals: why values are refused, as runs over the values.
        error: why there is no answer at all.
        loaded: whether the process could import the kernel type.
        cublaslt: whether DeepGEMM passed a call on to cuBLASLt.
        by_plugin: whether ``error`` is a fault of the kernel type.
    """

    segments: tuple[Run[tuple[int, ...]], ...] = ()
    refusals: tuple[Run[RefusalCause], ...] = ()
    error: str = ""
    loaded: bool = True
    cublaslt: bool = False
    by_plugin: bool = False

    def to_json(self) -> dict[str, Any]:
        segments = [(run.start, run.stop, run.content) for run in self.segments]
        refusals = [(run.start, run.stop, run.content.reason, run.content.by) for run in self.refusals]
        return {**asdict(self, recurse=False), "segments": segments, "refusals": refusals}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Swept:
        segments = tuple(Run(start, stop, tuple(libraries)) for start, stop, libraries in content["segments"])
        refusals = tuple(Run(start, stop, RefusalCause(reason, by)) for start, stop, reason, by in content["refusals"])
        rest = (content[name] for name in ("error", "loaded", "cublaslt", "by_plugin"))
        return cls(segments, refusals, *rest)


Job = SweepJob | ProbeJob
Event = Ready | KernelLoaded | Swept | Probed


def job_to_line(job: Job) -> str:
    """A job as a line of JSON, for a worker."""
    return json.dumps({"job": type(job).__name__, **asdict(job)}) + "\n"


def job_from_line(line: str) -> Job:
    """The job of a line of :func:`job_to_line`."""
    content = json.loads(line)
    if content.pop("job") == "ProbeJob":
        return ProbeJob(**{**content, "values": tuple(content["values"])})
    return SweepJob(**content)


def event_to_line(event: Event) -> str:
    """An answer of a worker as a line of JSON."""
    content = event.to_json() if isinstance(event, (Swept, Probed)) else asdict(event)
    return json.dumps({"event": type(event).__name__, **content}) + "\n"


def event_from_line(line: str) -> Event:
    """The answer of a line of :func:`event_to_line`."""
    content = json.loads(line)
    kind = content.pop("event")
    if kind == "Swept":
        return Swept.from_json(content)
    if kind == "Probed":
        return Probed.from_json(content)
    return Ready() if kind == "Ready" else KernelLoaded(**content)
