"""Probes values on the stub GPU: a few launches at each, watched more closely than those of a sweep."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from attrs import evolve

from kregistry.deep_gemm.version import UNKNOWN, deep_gemm_version
from kregistry.errors import describe_error
from kregistry.kernel_type import Buffers, KernelType, Shape
from kregistry.kernel_type.sealed_call import sealed_call
from kregistry.kernel_type.signature import with_arguments
from kregistry.stub.device_calls import device_calls
from kregistry.stub.probed import ProbedLaunch, ProbedValue
from kregistry.stub.recorder import Recorder
from kregistry.stub.returned_form import form_of


def probe(
    kernel_type: KernelType,
    shape: Shape,
    values: Sequence[int],
    recorder: Recorder,
    keywords: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[ProbedValue, ...]:
    """What the launches of :class:`~kregistry.stub.probed.ProbedValue` did at each run-time value.

    Args:
        keywords: optional arguments to give in each call, see :func:`~kregistry.kernel_type.signature.with_arguments`.
    """
    import torch

    first = kernel_type.run_dimension.start
    large = kernel_type.allocate_buffers(shape, max([*values, first]))
    side = torch.cuda.Stream()
    found: list[ProbedValue] = []
    for m in values:
        reason = kernel_type.refusal(shape, m)
        if reason:
            found.append(ProbedValue(m, reason))
            continue
        exact = kernel_type.allocate_buffers(shape, max(m, first))
        launch = kernel_type.launch
        execute: Callable[[Buffers], object] = partial(_execute, kernel_type, m)
        if keywords:
            execute = partial(_call, launch, kernel_type, m, keywords)
        warm_up = _watch(recorder, partial(execute, exact))
        serving = _watch(recorder, partial(_call, launch, kernel_type, m, keywords, large))
        watched: AbstractContextManager[list[str]] = device_calls() if m == values[-1] else nullcontext([])
        with torch.cuda.stream(side), watched as chosen:
            stream = _watch(recorder, partial(execute, large))
        stream = evolve(stream, device_calls=len(chosen))
        sealed = ProbedLaunch()
        if m == 0 or kernel_type.passes_on != "none":
            function = sealed_call(kernel_type, deep_gemm_version() or UNKNOWN)
            sealed = _watch(recorder, partial(_call, function, kernel_type, m, keywords, large))
        read = _read(kernel_type, m, keywords, large)
        found.append(ProbedValue(m, "", warm_up, serving, stream, sealed, read))
    return tuple(found)


def _execute(kernel_type: KernelType, m: int, buffers: Buffers) -> object:
    return kernel_type.execute(buffers, m)


def _call(
    function: Callable[..., Any], kernel_type: KernelType, m: int, keywords: Mapping[str, Any], buffers: Buffers
) -> object:
    call = kernel_type.arguments(buffers, m)
    args, kwargs = call.args, call.kwargs
    if keywords:
        args, kwargs = with_arguments(kernel_type.function(), args, kwargs, keywords)
    return function(*args, **kwargs)


def _read(kernel_type: KernelType, m: int, keywords: Mapping[str, Any], buffers: Buffers) -> int | None:
    try:
        return int(cast(int, _call(kernel_type.read_m, kernel_type, m, keywords, buffers)))
    except Exception:  # the call is not one of its own; a launch says so too
        return None


def _watch(recorder: Recorder, call: Callable[[], object]) -> ProbedLaunch:
    """Everything that the stub and torch's allocator see of one call."""
    import torch

    torch.cuda.reset_peak_memory_stats()
    before = _requested_bytes("current")
    recorder.reset()
    recorder.expect_stream(torch.cuda.current_stream().cuda_stream)
    recorder.mark()
    error, result = "", ""
    try:
        result = form_of(call())
    except Exception as raised:
        error = describe_error(raised)
    recorder.mark()
    return ProbedLaunch(
        error=error,
        libraries=tuple(array("I", recorder.launches()[0])),
        host_reads=recorder.host_reads(),
        host_waits=recorder.host_waits(),
        foreign_launches=recorder.foreign_launches(),
        cublaslt_calls=recorder.cublaslt_calls(),
        result=result,
        nbytes=_requested_bytes("peak") - before,
    )


def _requested_bytes(which: str) -> int:
    """Bytes requested from torch's allocator, before rounding. The flat form of these numbers takes longer to make."""
    import torch

    return int(torch.cuda.memory_stats_as_nested_dict()["requested_bytes"]["all"][which])
