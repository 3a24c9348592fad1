"""The parent's side of a probe: asks a child process on the stub GPU about single launches."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from kregistry.kernel_type import KernelType, Value
from kregistry.plan.dry_run import DryRun, _Child
from kregistry.plan.stub import compile_stub
from kregistry.target import Target
from kregistry.toolchain import Toolchain


@frozen
class ProbedLaunch:
    """One launch on the stub GPU.

    Attributes:
        error: what DeepGEMM or the kernel type raised.
        kernels: ids of the kernels launched, in order; torch's own kernels are not among them.
        host_reads: copies from device memory to the host.
        host_waits: synchronisations of a stream, an event or the device.
        foreign_launches: launches on another stream than the current one, torch's included.
        nbytes: most bytes that torch's allocator had given out at once during the call.
    """

    error: str = ""
    kernels: tuple[str, ...] = ()
    host_reads: int = 0
    host_waits: int = 0
    foreign_launches: int = 0
    nbytes: int = 0


@frozen
class ProbedValue:
    """The launches at one run-time value; see :func:`kregistry.plan.probe.probe` for what they are."""

    m: int
    refusal: str = ""
    warm_up: ProbedLaunch = ProbedLaunch()
    serving: ProbedLaunch = ProbedLaunch()
    stream: ProbedLaunch = ProbedLaunch()

    @property
    def launches(self) -> tuple[ProbedLaunch, ...]:
        return self.warm_up, self.serving, self.stream


@frozen
class Probed:
    """The answer to one probe.

    Attributes:
        values: one for each run-time value that was asked for; empty after an error.
        error: why there is no answer: the kernel type could not be sent, refuses the shape, or ended the process.
        loaded: whether the child process could import the kernel type.
    """

    values: tuple[ProbedValue, ...] = ()
    error: str = ""
    loaded: bool = True


class Prober:
    """A child process on the stub GPU as one target, started when it is first needed; use as a context manager.

    Args:
        toolchain: what the machine has.
        target: the GPU to be.
        stub_directory: where the compiled stub is kept.
    """

    def __init__(self, toolchain: Toolchain, target: Target, stub_directory: Path) -> None:
        self._run = DryRun(toolchain, target, stub_directory)
        self._scratch = TemporaryDirectory(prefix="kregistry-probe-")
        self._child: _ProbeChild | None = None
        self._generation = 0

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.__exit__()
        self._scratch.cleanup()

    def probe(self, kernel_type: KernelType, shape: Mapping[str, Value], values: Sequence[int]) -> Probed:
        """Launch at each value.

        Raises:
            EnvironmentProblem: torch or DeepGEMM cannot be loaded on the stub.
        """
        try:
            sent = base64.b64encode(pickle.dumps(kernel_type)).decode()
        except Exception as error:  # pickle raises whatever it likes
            return Probed(error=f"{type(error).__name__}: {error}", loaded=False)
        if self._child is None or not self._child.alive:
            self._child = self._start()
        job = {"job": 0, "kernel_type": sent, "shape": dict(shape), "probe": list(values)}
        return self._child.probe(job)

    def _start(self) -> _ProbeChild:
        if self._child is not None:
            self._child.__exit__()
        self._generation += 1
        library = compile_stub(self._run.toolchain, self._run.stub_directory)
        child = _ProbeChild(self._run, library, Path(self._scratch.name) / str(self._generation))
        child.__enter__()
        return child


class _ProbeChild(_Child):
    def probe(self, job: dict[str, Any]) -> Probed:
        self._send(job)
        while (event := self._receive()) is not None:
            if event["event"] == "done":
                values = tuple(self._value(each) for each in event["probed"])
                return Probed(values, event["error"], event["loaded"])
            self.kernels[event["library"]] = self.run.found(self.home, Path(event["file"]))
        self.alive = False
        return Probed(error=self._death())

    def _value(self, facts: dict[str, Any]) -> ProbedValue:
        launches = {name: self._launch(**facts[name]) for name in ("warm_up", "serving", "stream") if name in facts}
        return ProbedValue(facts["m"], facts.get("refusal", ""), **launches)

    def _launch(self, libraries: list[int], **facts: Any) -> ProbedLaunch:
        return ProbedLaunch(kernels=tuple(self.kernels[index].id for index in libraries), **facts)
