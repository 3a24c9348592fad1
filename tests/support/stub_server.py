"""Servers on the stub GPU: real torch and DeepGEMM, with a compiler that answers ``--version`` and refuses all else.

One process loads torch, and each server is a fork of it, so that a server takes well under a second.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from forks import Forks

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
        results: of each call that was given, "called" or the error; "compiles, " comes first if DeepGEMM wanted to.
    """

    compiles: tuple[str, ...]
    error: str
    calls: int
    results: tuple[str, ...] = ()

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
        self._forks = Forks({**self._environment, "PYTHONPATH": path}).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._forks.__exit__()

    def serve(
        self,
        manifest: Path,
        environment: Mapping[str, str] = os.environ,
        cwd: Path | None = None,
        calls: Sequence[Mapping[str, Any]] = (),
        compiler: Path | None = None,
    ) -> Served:
        """Make calls in a server with this environment, in this working directory.

        Args:
            manifest: what the server knows. Without ``calls``, it makes every call of it.
            environment: of the server.
            cwd: its working directory.
            calls: the calls that it makes instead, as :func:`_make_given` reads them, each of them watched by a
                registry that refuses what the manifest does not cover.
            compiler: where the compiler that the server finds by itself notes what it refuses; default: it gets one.
        """
        self._count += 1
        home = self._directory / str(self._count)
        home.mkdir()
        log, answer = compiler or home / "compiles", home / "answer"
        stub = {name: value for name, value in self._environment.items() if name.startswith(_STUB)}
        variables = {**stub, **environment}
        if compiler is None:
            toolkit, nvcc = find_cuda_toolkit(environment), home / "nvcc"
            nvcc.write_text(_REFUSING.format(nvcc=toolkit.nvcc, log=log))
            nvcc.chmod(0o755)
            variables.update(DG_JIT_NVCC_COMPILER=str(nvcc), CUDA_HOME=str(toolkit.home))
        job = {
            "manifest": str(manifest.absolute()),
            "calls": [dict(call) for call in calls],
            "compiles": str(log),
            "answer": str(answer),
        }
        said = home / "log"
        self._forks.run(Path(__file__), [json.dumps(job)], variables, said, said, cwd or home)
        found = json.loads(answer.read_text()) if answer.exists() else {"error": "it has died", "calls": 0}
        if found["error"]:
            found["error"] += f"\n{said.read_text()[-2000:]}"
        compiles = tuple(log.read_text().splitlines()) if log.exists() else ()
        return Served(compiles, found["error"], found["calls"], tuple(found.get("results", ())))


def _serve(job: dict[str, object]) -> None:
    calls, error = 0, ""
    results: list[str] = []
    try:
        if job["calls"]:
            results += _make_given(Path(str(job["manifest"])), job["calls"], Path(str(job["compiles"])))
            calls = len(results)
        else:
            calls = _make_calls(Path(str(job["manifest"])))
    except BaseException as caught:
        error = f"{type(caught).__name__}: {caught}"
    Path(str(job["answer"])).write_text(json.dumps({"calls": calls, "error": error, "results": results}))


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


def _make_given(manifest: Path, calls: Any, compiles: Path) -> Iterator[str]:
    """The result of each call: ``type``, ``shape`` and ``m`` say how it is made, ``arguments`` which optional arguments
    it has besides, and ``setter`` is a function of DeepGEMM that is called first, with its argument and the one that
    takes it back.
    """
    import deep_gemm

    from kregistry.deep_gemm.settings import applied
    from kregistry.kernel_type.signature import with_arguments
    from kregistry.manifest import load_manifest
    from kregistry.registry import Registry
    from kregistry.serving import Dispatch
    from kregistry.target import detect_target

    registry, target, seen = Registry(), detect_target(), 0
    dispatch = Dispatch(registry)
    dispatch.cover(load_manifest(manifest, registry))
    dispatch.watch("error")
    for given in calls:
        kernel_type = registry[given["type"]]
        shape = kernel_type.resolve(given["shape"], target)
        name, argument, before = given["setter"] or ("", None, None)
        with applied(kernel_type, shape):
            call = kernel_type.arguments(kernel_type.allocate_buffers(shape, given["m"]), given["m"])
            args, kwargs = with_arguments(kernel_type.function(), call.args, call.kwargs, given["arguments"])
            try:
                if name:
                    getattr(deep_gemm, name)(argument)
                kernel_type(*args, **kwargs)
                result = "called"
            except Exception as error:
                result = f"{type(error).__name__}: {error}".partition("\n")[0]
            finally:
                if name:
                    getattr(deep_gemm, name)(before)
        count = len(compiles.read_text().splitlines()) if compiles.exists() else 0
        yield f"compiles, {result}" if count > seen else result
        seen = count


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
