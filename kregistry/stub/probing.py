"""The child's side of a probe: single launches on the stub GPU, each watched more closely than in a sweep."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from kregistry.kernel_type import Buffers, KernelType, Shape
from kregistry.stub.recorder import Recorder


def probe(kernel_type: KernelType, shape: Shape, values: Iterable[int], recorder: Recorder) -> list[dict[str, Any]]:
    """What a few launches did at each run-time value.

    Warm-up: :meth:`~KernelType.execute` with buffers made for just that value. Serving: :meth:`~KernelType.launch`
    with the arguments that buffers for the largest value give. Stream: the former on another stream than the default.
    Sealed: at 0 only, :meth:`~KernelType.sealed` in place of the launch.
    """
    import deep_gemm
    import torch

    values = list(values)
    first = kernel_type.run_dimension.start
    large = kernel_type.allocate_buffers(shape, max([*values, first]))
    side = torch.cuda.Stream()
    found: list[dict[str, Any]] = []
    for m in values:
        reason = kernel_type.refusal(shape, m)
        if reason:
            found.append({"m": m, "refusal": reason})
            continue
        exact = kernel_type.allocate_buffers(shape, max(m, first))
        warm_up, serving = (
            partial(kernel_type.execute, exact, m),
            partial(_call, kernel_type.launch, kernel_type, large, m),
        )
        facts = {"m": m, "warm_up": _watch(recorder, warm_up), "serving": _watch(recorder, serving)}
        with torch.cuda.stream(side):
            facts["stream"] = _watch(recorder, warm_up)
        if m == 0:
            sealed = kernel_type.sealed(str(getattr(deep_gemm, "__version__", "0")))
            facts["sealed"] = _watch(recorder, partial(_call, sealed, kernel_type, large, m))
        found.append(facts)
    return found


def _call(function: Callable[..., Any], kernel_type: KernelType, buffers: Buffers, m: int) -> None:
    call = kernel_type.arguments(buffers, m)
    function(*call.args, **call.kwargs)


def _watch(recorder: Recorder, call: Callable[[], object]) -> dict[str, Any]:
    """Everything that the stub and torch's allocator see of one call."""
    import torch

    from kregistry.stub.worker import describe_error

    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_stats().get("requested_bytes.all.current", 0)
    recorder.reset()
    recorder.expect_stream(torch.cuda.current_stream().cuda_stream)
    recorder.mark()
    error = ""
    try:
        call()
    except Exception as raised:
        error = describe_error(raised)
    recorder.mark()
    return {
        "error": error,
        "libraries": list(array("I", recorder.launches()[0])),
        "host_reads": recorder.host_reads(),
        "host_waits": recorder.host_waits(),
        "foreign_launches": recorder.foreign_launches(),
        "nbytes": torch.cuda.memory_stats().get("requested_bytes.all.peak", 0) - before,
    }
