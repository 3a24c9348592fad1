"""A process on the stub GPU: it runs DeepGEMM's host code, one job after another.

Jobs and events are in :mod:`kregistry.stub.protocol`. Standard output is left to DeepGEMM and plugins.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from kregistry.deep_gemm.preset import forget_preset
from kregistry.deep_gemm.settings import applied
from kregistry.deep_gemm.version import UNKNOWN, deep_gemm_version
from kregistry.errors import describe_error
from kregistry.kernel_type import KernelType
from kregistry.stub.pickling import unpickle_kernel_type
from kregistry.stub.probed import Probed
from kregistry.stub.process_state import changed_names, process_state
from kregistry.stub.protocol import (
    Event,
    Job,
    KernelLoaded,
    ProbeJob,
    Ready,
    SweepJob,
    Swept,
    event_to_line,
    job_from_line,
)
from kregistry.target import Target


def serve(target: Target, jobs: int, events: int) -> None:
    """Run the jobs that come from one file descriptor, and write events to the other."""
    with os.fdopen(jobs, encoding="utf-8") as lines, os.fdopen(events, "w", encoding="utf-8") as out:

        def send(event: Event) -> None:
            out.write(event_to_line(event))
            out.flush()

        worker = Worker(target, send)
        for line in lines:
            worker.run(job_from_line(line))


class Worker:
    """Runs jobs, and reports each kernel once."""

    def __init__(self, target: Target, send: Callable[[Event], None]) -> None:
        before = set(os.environ)
        import deep_gemm  # noqa: F401 - a DeepGEMM that does not load ends the process here

        forget_preset(before)
        import torch

        from kregistry.stub.recorder import Recorder

        self.target = target
        self.send = send
        self.deep_gemm_version = deep_gemm_version() or UNKNOWN
        self.recorder = Recorder()
        self.announced = 0
        torch.empty(1, device="cuda")  # the context exists before the first sweep
        send(Ready())

    def run(self, job: Job) -> None:
        answer = self._probe(job) if isinstance(job, ProbeJob) else self._sweep(job)
        self._announce()
        self.send(answer)

    def _probe(self, job: ProbeJob) -> Probed:
        from kregistry.stub.probing import probe

        try:
            kernel_type: KernelType = unpickle_kernel_type(job.kernel_type)
        except Exception as error:
            return Probed(error=describe_error(error), loaded=False)
        try:
            shape = kernel_type.resolve(job.shape, self.target)
            with applied(kernel_type, shape):
                before = process_state()
                values = probe(kernel_type, shape, job.values, self.recorder, job.keywords)
                return Probed(values, changed=changed_names(before, process_state()))
        except Exception as error:
            return Probed(error=describe_error(error))

    def _sweep(self, job: SweepJob) -> Swept:
        from kregistry.stub.sweeping import sweep

        try:
            kernel_type: KernelType = unpickle_kernel_type(job.kernel_type)
        except Exception as error:
            return Swept(error=describe_error(error), loaded=False)
        try:
            shape = kernel_type.resolve(job.shape, self.target)
            values = range(job.start, job.stop + 1, job.step)
            reason = kernel_type.unsupported_reason(self.target, self.deep_gemm_version)
            if reason is not None:
                return Swept(error=f"not supported on {self.target.name} ({self.target.arch}): {reason}")
            with applied(kernel_type, shape):
                return sweep(kernel_type, shape, values, self.recorder, self._announce)
        except Exception as error:
            return Swept(error=describe_error(error))

    def _announce(self) -> None:
        """Report the kernels that were loaded since the last time."""
        count = self.recorder.library_count()
        for library in range(self.announced, count):
            self.send(KernelLoaded(library, str(self.recorder.library_file(library))))
        self.announced = count
