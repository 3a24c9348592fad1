"""Servers on the stub GPU: real torch and DeepGEMM, with a compiler that answers ``--version`` and refuses all else.

One process loads torch, and each server is a fork of it, so that a server takes well under a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from kregistry.stub.environment import stub_environment
from kregistry.target import get_target
from kregistry.toolchain import Toolchain, find_cuda_toolkit

_ROOT = Path(__file__).resolve().parents[2]
_REFUSING = """#!/bin/sh
case "$1" in --version) exec {nvcc} --version ;; esac
echo "$@" >>{log}
exit 1
"""
#: Of the stub's own environment, what a server needs.
_STUB = ("KREGISTRY_STUB_", "LD_PRELOAD", "DG_USE_TEMP_CUBLASLT_WORKSPACE", "PYTHONUSERBASE")


@frozen
class Served:
    """What a server did.

    Attributes:
        compiles: the commands of all compiles that were refused.
        error: why it ended early; empty if it made every call.
        calls: number of calls that it made.
    """

    compiles: tuple[str, ...]
    error: str
    calls: int

    def compiled_nothing(self) -> bool:
        return not self.compiles and not self.error and self.calls > 0


class StubServers:
    """Starts servers; use it as a context manager.

    Args:
        toolchain: of this machine.
        library: the compiled stub.
        directory: for their files.
    """

    def __init__(self, toolchain: Toolchain, library: Path, directory: Path, target: str = "h100") -> None:
        self._environment = stub_environment(get_target(target), toolchain, library, directory)
        self._directory = directory
        self._count = 0

    def __enter__(self) -> StubServers:
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            env={**self._environment, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    def serve(self, manifest: Path, environment: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Served:
        """Make every call of a manifest in a server with this environment, in this working directory."""
        self._count += 1
        home = self._directory / str(self._count)
        home.mkdir()
        compiler, log, answer = home / "nvcc", home / "compiles", home / "answer"
        toolkit = find_cuda_toolkit(environment)
        compiler.write_text(_REFUSING.format(nvcc=toolkit.nvcc, log=log))
        compiler.chmod(0o755)
        stub = {name: value for name, value in self._environment.items() if name.startswith(_STUB)}
        variables = {**stub, **environment, "DG_JIT_NVCC_COMPILER": str(compiler), "CUDA_HOME": str(toolkit.home)}
        job = {
            "environment": variables,
            "manifest": str(manifest.absolute()),
            "cwd": str(cwd or home),
            "log": str(home / "log"),
            "answer": str(answer),
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()
        found = json.loads(answer.read_text()) if answer.exists() else {"error": "it has died", "calls": 0}
        if found["error"]:
            found["error"] += f"\n{(home / 'log').read_text()[-2000:]}"
        compiles = tuple(log.read_text().splitlines()) if log.exists() else ()
        return Served(compiles, found["error"], found["calls"])


def _main() -> None:
    """The process that loads torch, and forks a server for each line of its standard input."""
    import torch  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _serve(json.loads(line))
        os.waitpid(child, 0)
        print("served", flush=True)


def _serve(job: dict[str, object]) -> None:
    log = os.open(str(job["log"]), os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(str(job["cwd"]))
    os.environ.clear()
    os.environ.update(job["environment"])  # type: ignore[call-overload]
    calls, error = 0, ""
    try:
        calls = _make_calls(Path(str(job["manifest"])))
    except BaseException as caught:
        error = f"{type(caught).__name__}: {caught}"
    Path(str(job["answer"])).write_text(json.dumps({"calls": calls, "error": error}))
    os._exit(0)


def _make_calls(path: Path) -> int:
    from kregistry.deep_gemm.settings import applied
    from kregistry.manifest import load_manifest
    from kregistry.registry import Registry

    registry, calls = Registry(), 0
    for entry in load_manifest(path, registry).entries:
        kernel_type, values = registry[entry.kernel_type], entry.range
        with applied(kernel_type, entry.shape):
            buffers = kernel_type.allocate_buffers(entry.shape, values.stop)
            for m in range(values.start, values.stop + 1, values.step):
                kernel_type.execute(buffers, m)
                calls += 1
    return calls


if __name__ == "__main__":
    _main()
