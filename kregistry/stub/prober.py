"""The parent's side of a probe: asks a child process on the stub GPU about single launches."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from kregistry.kernel import Kernel
from kregistry.kernel_type import KernelType, Value
from kregistry.plan.dry_run import DryRun
from kregistry.stub.pool import Children
from kregistry.stub.process import Child, NotPicklable, send_form
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
    """The launches at one run-time value; see :func:`kregistry.stub.probe.probe` for what they are."""

    m: int
    refusal: str = ""
    warm_up: ProbedLaunch = ProbedLaunch()
    serving: ProbedLaunch = ProbedLaunch()
    stream: ProbedLaunch = ProbedLaunch()
    sealed: ProbedLaunch = ProbedLaunch()

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
        self._started = ExitStack()
        self._children: Children | None = None
        self._child: Child | None = None
        self._generation = 0

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.close()
        self._started.close()
        self._scratch.cleanup()

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """Every kernel that a probe has met, by its id."""
        return self._run.kernels

    def probe(self, kernel_type: KernelType, shape: Mapping[str, Value], values: Sequence[int]) -> Probed:
        """Launch at each value.

        Raises:
            MissingRequirement: torch or DeepGEMM cannot be loaded on the stub.
        """
        try:
            sent = send_form(kernel_type)
        except NotPicklable as error:
            return Probed(error=str(error), loaded=False)
        if self._child is None or not self._child.alive:
            self._child = self._start()
        answer = self._child.ask({"job": 0, "kernel_type": sent, "shape": dict(shape), "probe": list(values)})
        if answer is None:
            return Probed(error=self._child.death())
        kernels = self._child.kernels
        return Probed(tuple(_value(kernels, each) for each in answer["probed"]), answer["error"], answer["loaded"])

    def _start(self) -> Child:
        if self._child is not None:
            self._child.close()
            self._child = None
        if self._children is None:
            self._children = self._started.enter_context(self._run.children(Path(self._scratch.name)))
        self._generation += 1
        try:
            return self._children.start(str(self._generation)).__enter__()
        except BaseException:  # the next probe tries anew, from a new process
            self._started.__exit__(*sys.exc_info())
            self._children = None
            raise


def _value(kernels: Mapping[int, Kernel], facts: dict[str, Any]) -> ProbedValue:
    names = ("warm_up", "serving", "stream", "sealed")
    launches = {name: _launch(kernels, **facts[name]) for name in names if name in facts}
    return ProbedValue(facts["m"], facts.get("refusal", ""), **launches)


def _launch(kernels: Mapping[int, Kernel], libraries: list[int], **facts: Any) -> ProbedLaunch:
    return ProbedLaunch(kernels=tuple(kernels[index].id for index in libraries), **facts)
