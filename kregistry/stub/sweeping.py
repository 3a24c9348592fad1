"""Sweeps a range on the stub GPU: one launch at every value, and which kernels each of them needs."""

from __future__ import annotations

from collections.abc import Callable

from kregistry.errors import describe_error
from kregistry.kernel_type import KernelType, Shape
from kregistry.stub.protocol import Swept
from kregistry.stub.recorder import Recorder
from kregistry.stub.segments import Run, libraries_of, runs

#: New kernels are announced after at most this many launches, so that they can be compiled while the sweep continues.
_ANNOUNCE_EVERY = 256


def sweep(
    kernel_type: KernelType, shape: Shape, values: range, recorder: Recorder, announce: Callable[[], None]
) -> Swept:
    """Launch at every value; an exception refuses its value only.

    Args:
        kernel_type: what to launch.
        shape: with which dimensions.
        values: ascending run-time values.
        recorder: of this process.
        announce: called from time to time.
    """
    import torch

    buffers = kernel_type.allocate_buffers(shape, values[-1])
    refused: dict[int, str] = {}
    recorder.reset()
    mark, execute = recorder.mark, kernel_type.execute
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
            announce()
    mark()
    if recorder.host_reads() and not kernel_type.reads_device_memory:
        reads = (
            f"reads device memory on the host ({recorder.host_reads()} copies): which kernel it launches may depend on "
            "data that a plan does not have"
        )
        return Swept(error=reads)
    cublaslt = recorder.cublaslt_calls() > 0
    contents = [None if m in refused else raw for m, raw in zip(values, recorder.launches())]
    segments = [
        Run(run.start, run.stop, libraries_of(run.content)) for run in runs(values, contents) if run.content is not None
    ]
    refusals = [
        Run(run.start, run.stop, run.content)
        for run in runs(values, [refused.get(m) for m in values])
        if run.content is not None
    ]
    del buffers
    torch.cuda.empty_cache()
    return Swept(tuple(segments), tuple(refusals), cublaslt=cublaslt)
