"""The child process of a dry run: DeepGEMM's host code on the stub GPU, one sweep after another.

It reads jobs, one JSON object a line, and writes events likewise. Standard output is left to DeepGEMM and plugins.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
from collections.abc import Callable
from typing import Any

from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import KernelType, Shape
from kregistry.stub.segments import libraries_of, runs
from kregistry.target import Target

Send = Callable[[dict[str, Any]], None]
#: New kernels are announced at least this often, so that compiling may begin while a sweep goes on.
_ANNOUNCE_EVERY = 256


def serve(target: Target, jobs: int, events: int) -> None:
    """Run the jobs that come from one file descriptor, and write what happens to the other."""
    with os.fdopen(jobs, encoding="utf-8") as lines, os.fdopen(events, "w", encoding="utf-8") as out:

        def send(event: dict[str, Any]) -> None:
            out.write(json.dumps(event) + "\n")
            out.flush()

        worker = Worker(target, send)
        for line in lines:
            worker.run(json.loads(line))


class Worker:
    """Holds what one process has announced so far."""

    def __init__(self, target: Target, send: Send) -> None:
        import deep_gemm
        import torch

        from kregistry.stub.recorder import Recorder

        self.target = target
        self.send = send
        self.deep_gemm_version = str(getattr(deep_gemm, "__version__", "0"))
        self.recorder = Recorder()
        self.announced = 0
        torch.empty(1, device="cuda")  # the context exists before the first sweep
        send({"event": "ready"})

    def run(self, job: dict[str, Any]) -> None:
        """One job: a kernel type, a shape, and a part of a range or values to probe."""
        if "probe" in job:
            self._probe(job)
        else:
            self._plan(job)

    def _probe(self, job: dict[str, Any]) -> None:
        from kregistry.stub.probe import probe

        answer: dict[str, Any] = {"event": "done", "probed": [], "error": "", "loaded": False}
        try:
            kernel_type: KernelType = pickle.loads(base64.b64decode(job["kernel_type"]))
            answer["loaded"] = True
            shape = kernel_type.resolve(job["shape"], self.target)
            with applied(kernel_type, shape):
                answer["probed"] = probe(kernel_type, shape, job["probe"], self.recorder)
        except Exception as error:
            answer["error"] = describe_error(error)
        self._announce()
        self.send(answer)

    def _plan(self, job: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"event": "done", "job": job["job"], "segments": [], "refusals": [], "error": ""}
        answer["cublaslt"] = False
        try:
            kernel_type: KernelType = pickle.loads(base64.b64decode(job["kernel_type"]))
            shape = kernel_type.resolve(job["shape"], self.target)
            values = range(job["start"], job["stop"] + 1, job["step"])
            reason = kernel_type.unsupported_reason(self.target, self.deep_gemm_version)
            if reason is None:
                with applied(kernel_type, shape):
                    self._sweep(kernel_type, shape, values, answer)
            else:
                answer["error"] = f"not supported on {self.target.name} ({self.target.arch}): {reason}"
        except Exception as error:
            answer["error"] = describe_error(error)
        self._announce()
        self.send(answer)

    def _sweep(self, kernel_type: KernelType, shape: Shape, values: range, answer: dict[str, Any]) -> None:
        import torch

        buffers = kernel_type.allocate_buffers(shape, values[-1])
        refused: dict[int, str] = {}
        self.recorder.reset()
        mark, execute = self.recorder.mark, kernel_type.execute
        guarded = type(kernel_type).refusal is not KernelType.refusal
        for count, m in enumerate(values, start=1):
            mark()
            if guarded and (reason := kernel_type.refusal(shape, m)):
                refused[m] = reason
                continue
            try:
                execute(buffers, m)
            except Exception as error:
                refused[m] = describe_error(error)
            if count % _ANNOUNCE_EVERY == 0:
                self._announce()
        mark()
        if self.recorder.host_reads() and not kernel_type.reads_device_memory:
            answer["error"] = (
                f"reads device memory on the host ({self.recorder.host_reads()} copies): which kernel it launches may "
                "depend on data that a plan does not have"
            )
            return
        answer["cublaslt"] = self.recorder.cublaslt_calls() > 0
        launches = self.recorder.launches()
        contents: list[object] = [None if m in refused else raw for m, raw in zip(values, launches)]
        answer["segments"] = [
            (run.start, run.stop, libraries_of(run.content))
            for run in runs(values, contents)
            if isinstance(run.content, bytes)
        ]
        answer["refusals"] = [
            (run.start, run.stop, run.content)
            for run in runs(values, [refused.get(m) for m in values])
            if run.content is not None
        ]
        del buffers
        torch.cuda.empty_cache()

    def _announce(self) -> None:
        """Tell of the kernels that were loaded since the last time."""
        count = self.recorder.library_count()
        for index in range(self.announced, count):
            self.send({"event": "kernel", "library": index, "file": str(self.recorder.library_file(index))})
        self.announced = count


def describe_error(error: BaseException) -> str:
    """One line: DeepGEMM's assertions without C++ stack and paths of the machine that built the wheel."""
    text = " ".join(str(error).split())
    for tail in (" Exception raised from", " Traceback"):
        text = text.partition(tail)[0]
    kind = type(error).__name__
    return f"{kind}: {text}"[:500] if text else kind
