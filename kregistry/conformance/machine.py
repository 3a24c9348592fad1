"""Machine: the machine of a conformance run, with its levels, its GPU, and child processes on the stub GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kregistry.conformance.rule import Level
from kregistry.errors import KregistryError
from kregistry.target import Target

if TYPE_CHECKING:
    from kregistry.stub.prober import Prober
    from kregistry.toolchain import Toolchain


class Machine:
    """The levels that this machine can check. It may start processes: use it as a context manager.

    Args:
        stub_directory: directory of the compiled stub GPU; by default below the user's cache directory.
    """

    def __init__(self, stub_directory: Path | None = None) -> None:
        self._stub_directory = stub_directory
        self._probers: dict[str, Prober] = {}

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as closing:  # all of them, also if an interrupt ends the wait for one
            for prober in self._probers.values():
                closing.callback(prober.__exit__)
            self._probers.clear()

    @cached_property
    def unavailable(self) -> Mapping[Level, str]:
        """Level -> why this machine cannot check it. A level that it can check is absent."""
        reasons = {Level.ANYWHERE: _torch_problem(), Level.STUB: self._stub_problem(), Level.GPU: _gpu_problem()}
        return {level: reason for level, reason in reasons.items() if reason}

    @cached_property
    def deep_gemm_version(self) -> str | None:
        """Version of the installed DeepGEMM, if there is one."""
        from kregistry.deep_gemm.version import deep_gemm_version

        return deep_gemm_version()

    @cached_property
    def gpu(self) -> Target:
        """The GPU of this machine.

        Raises:
            MissingRequirement: there is none.
        """
        from kregistry.target import detect_target

        return detect_target()

    @cached_property
    def toolchain(self) -> Toolchain:
        from kregistry.toolchain import find_toolchain

        return find_toolchain()

    @property
    def stub_directory(self) -> Path:
        from kregistry.stub.library import default_stub_directory

        return self._stub_directory or default_stub_directory()

    def prober(self, target: Target) -> Prober:
        """The child process on the stub GPU of a target; all kernel types share it."""
        from kregistry.stub.prober import Prober

        if target.name not in self._probers:
            self._probers[target.name] = Prober(self.toolchain, target, self.stub_directory)
        return self._probers[target.name]

    def _stub_problem(self) -> str:
        try:
            _ = self.toolchain
        except KregistryError as error:
            return error.message
        return ""


def _torch_problem() -> str:
    from kregistry.toolchain import any_torch_version

    try:
        any_torch_version()
    except KregistryError as error:
        return error.message
    return ""


def _gpu_problem() -> str:
    if _torch_problem():
        return _torch_problem()
    import torch

    if not torch.cuda.is_available():
        return "torch finds no GPU"
    return "" if importlib.util.find_spec("deep_gemm") else "DeepGEMM is not installed"
