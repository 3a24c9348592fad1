"""Sweeps a range on the stub GPU: one launch at every value, and which kernels each of them needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from functools import partial

from attrs import define, field

from kregistry.errors import MissingRequirement
from kregistry.kernel_type import Buffers, KernelType, Shape
from kregistry.stub.protocol import Swept
from kregistry.stub.recorder import Recorder
from kregistry.stub.refusing import RefusalCause, defined_at, wrong_call
from kregistry.stub.repeated_calls import FIRST, NotRepeatable, RepeatedCalls, compared
from kregistry.stub.segments import Run, join, libraries_of, runs

_log = logging.getLogger("kregistry.stub")
#: New kernels are announced after at most this many launches, so that they can be compiled while the sweep continues.
_ANNOUNCE_EVERY = 256
#: Fewer values are not worth two calls that are noted.
_FEW = 64


@define
class _Launches:
    """What the launches at each value of a range did.

    Attributes:
        runs: the libraries launched, as raw uint32, as runs over the values; ``None`` where a value is refused.
        refused: why a value is refused.
    """

    runs: list[Run[bytes | None]]
    refused: dict[int, RefusalCause] = field(factory=dict)


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
    try:
        launches = _repeat(kernel_type, buffers, values, recorder, announce)
        if launches is None:
            launches = _launch(kernel_type, buffers, values, recorder, announce)
    except MissingRequirement as error:  # of no value in particular, and no refusal
        return Swept(error=f"{error.message}; {error.hint}" if error.hint else error.message)
    refused = launches.refused
    if recorder.host_reads() and not kernel_type.reads_device_memory:
        reads = (
            f"reads device memory on the host ({recorder.host_reads()} copies): which kernel it launches may depend on "
            "data that a plan does not have"
        )
        return Swept(error=reads)
    cublaslt = recorder.cublaslt_calls() > 0
    segments = [Run(run.start, run.stop, libraries_of(run.content)) for run in launches.runs if run.content is not None]
    kinds = runs(values, (refused[m].kind if m in refused else None for m in values)) if refused else []
    refusals = [Run(run.start, run.stop, refused[run.start]) for run in kinds if run.content is not None]
    ends = dict.fromkeys(m for run in segments for m in (run.start, run.stop))
    fault = next(filter(None, (wrong_call(kernel_type, buffers, m) for m in ends)), "")
    if fault:
        return Swept(error=f"{defined_at(type(kernel_type))}: {fault}", by_plugin=True)
    del buffers
    torch.cuda.empty_cache()
    return Swept(tuple(segments), tuple(refusals), cublaslt=cublaslt)


def _launch(
    kernel_type: KernelType, buffers: Buffers, values: range, recorder: Recorder, announce: Callable[[], None]
) -> _Launches:
    """Let the kernel type make its call at each value."""
    refused: dict[int, RefusalCause] = {}
    recorder.reset()
    mark, execute = recorder.mark, kernel_type.execute
    guarded = _is_guarded(kernel_type)
    guard = defined_at(type(kernel_type).refusal) if guarded else ""
    for count, m in enumerate(values, start=1):
        mark()
        if guarded and (reason := kernel_type.refusal(buffers.shape, m)):
            refused[m] = RefusalCause(reason, guard)
            continue
        try:
            execute(buffers, m)
        except MissingRequirement:
            raise
        except Exception as error:
            refused[m] = RefusalCause.from_error(error, kernel_type)
        if count % _ANNOUNCE_EVERY == 0:
            announce()
    mark()
    return _Launches(_runs(values, recorder, refused), refused)


def _repeat(
    kernel_type: KernelType, buffers: Buffers, values: range, recorder: Recorder, announce: Callable[[], None]
) -> _Launches | None:
    """Make the calls natively; ``None`` if that is not possible, or if it is not what the kernel type does."""
    few = values[: max(0, -((values.start - FIRST) // values.step))]
    rest = values[len(few) :]
    if len(rest) < _FEW or _is_guarded(kernel_type) or not kernel_type.linear_arguments(buffers.shape):
        return None
    try:
        calls = RepeatedCalls(partial(kernel_type.execute, buffers), rest[0], rest[-1])
        found = _launch(kernel_type, buffers, few, recorder, announce)
        recorder.reset_launches()
        failed = calls.make(rest, announce)
        recorder.mark()
        repeated = _runs(rest, recorder, dict.fromkeys(failed))
        for m in failed:
            try:
                kernel_type.execute(buffers, m)
            except Exception as error:
                found.refused[m] = RefusalCause.from_error(error, kernel_type)
            else:
                raise NotRepeatable(f"only the native call at {m} raises an error")
        ends = (m for run in repeated for m in (run.start, run.stop))
        calls.check(m for m in compared(rest, ends) if m not in found.refused)
    except NotRepeatable as error:
        _log.debug("%s: %s", kernel_type.name, error)
        return None
    return _Launches(join([found.runs, repeated], values.step), found.refused)


def _runs(values: range, recorder: Recorder, refused: Container[int]) -> list[Run[bytes | None]]:
    """What was launched since the last reset, as runs over the values."""
    if not refused:
        return [Run(run.start, run.stop, run.content) for run in recorder.runs(values)]
    return runs(values, [None if m in refused else raw for m, raw in zip(values, recorder.launches())])


def _is_guarded(kernel_type: KernelType) -> bool:
    return type(kernel_type).refusal is not KernelType.refusal
