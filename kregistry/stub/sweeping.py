"""Sweeps a range on the stub GPU: one launch at every value, and which kernels each of them needs."""

from __future__ import annotations

from collections.abc import Callable

from kregistry.errors import MissingRequirement
from kregistry.kernel_type import KernelType, Shape
from kregistry.stub.protocol import Swept
from kregistry.stub.recorder import Recorder
from kregistry.stub.refusing import Refused, place_of, wrong_call
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
    refused: dict[int, Refused] = {}
    recorder.reset()
    mark, execute = recorder.mark, kernel_type.execute
    guarded = type(kernel_type).refusal is not KernelType.refusal
    guard = place_of(type(kernel_type).refusal) if guarded else ""
    for count, m in enumerate(values, start=1):
        mark()
        if guarded and (reason := kernel_type.refusal(shape, m)):
            refused[m] = Refused(reason, guard)
            continue
        try:
            execute(buffers, m)
        except MissingRequirement as error:  # of no value in particular, and no refusal
            return Swept(error=f"{error.message}; {error.hint}" if error.hint else error.message)
        except Exception as error:
            refused[m] = Refused.from_error(error, kernel_type)
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
    kinds = runs(values, [refused[m].kind if m in refused else None for m in values])
    refusals = [Run(run.start, run.stop, refused[run.start]) for run in kinds if run.content is not None]
    ends = dict.fromkeys(m for run in segments for m in (run.start, run.stop))
    fault = next(filter(None, (wrong_call(kernel_type, buffers, m) for m in ends)), "")
    if fault:
        return Swept(error=f"{place_of(type(kernel_type))}: {fault}", by_plugin=True)
    del buffers
    torch.cuda.empty_cache()
    return Swept(tuple(segments), tuple(refusals), cublaslt=cublaslt)
