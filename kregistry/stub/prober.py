"""Asks a process on the stub GPU about single launches."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import evolve

from kregistry.kernel import Kernel
from kregistry.kernel_type import KernelType, Value
from kregistry.stub.pickling import NotPicklable, pickle_kernel_type, why_not_importable
from kregistry.stub.pool import StubPool
from kregistry.stub.probed import Probed
from kregistry.stub.process import StubProcess
from kregistry.stub.protocol import ProbeJob
from kregistry.target import Target
from kregistry.toolchain import Toolchain


class Prober:
    """One process on the stub GPU as one target, started when it is first needed; use as a context manager.

    Args:
        toolchain: the software of this machine.
        target: the GPU that the process sees.
        stub_directory: where the compiled stub is kept.
    """

    def __init__(self, toolchain: Toolchain, target: Target, stub_directory: Path) -> None:
        self._pool = StubPool(toolchain, target, stub_directory)
        self._open = ExitStack()
        self._is_open = False
        self._process: StubProcess | None = None
        self._started = 0

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        with self._open:  # the pool is closed also if an interrupt ends the wait for the process
            if self._process is not None:
                self._process.close()

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """Every kernel that a probe has loaded, by its id."""
        return self._pool.kernels

    def probe(
        self,
        kernel_type: KernelType,
        shape: Mapping[str, Value],
        values: Sequence[int],
        keywords: Mapping[str, Any] = MappingProxyType({}),
    ) -> Probed:
        """Launch at each value; what is launched there, :class:`~kregistry.stub.probed.ProbedValue` says.

        Args:
            kernel_type: what to launch.
            shape: its dimensions.
            values: run-time values.
            keywords: optional arguments to give in each call: plain values, as JSON can hold them, and the forms that
                :func:`~kregistry.kernel_type.signature.with_arguments` knows.

        Raises:
            MissingRequirement: torch or DeepGEMM cannot be loaded on the stub.
            StorageError: temporary files cannot be written.
        """
        try:
            pickled = pickle_kernel_type(kernel_type)
        except NotPicklable as error:
            return Probed(error=str(error), loaded=False)
        if self._process is None or not self._process.alive:
            self._process = self._start()
        answer = self._process.ask(ProbeJob(pickled, dict(shape), tuple(values), dict(keywords)))
        if answer is None:
            return Probed(error=self._process.death())
        if not answer.loaded:
            return evolve(answer, error=why_not_importable(kernel_type, answer.error))
        kernels = self._process.kernels
        return evolve(answer, values=tuple(value.named(kernels) for value in answer.values))

    def _start(self) -> StubProcess:
        if self._process is not None:
            self._process.close()
            self._process = None
        if not self._is_open:
            self._open.enter_context(self._pool)
            self._is_open = True
        self._started += 1
        try:
            return self._pool.start(str(self._started)).__enter__()
        except BaseException:  # the next probe tries again, with a new fork server
            self._open.__exit__(*sys.exc_info())
            self._is_open = False
            raise
