"""Rules for memory after a call: nothing of a kernel type keeps the tensors of its callers."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.calls import recorder_of
from kregistry.conformance.rules.numerics import device_shapes
from kregistry.conformance.trial import filled_buffers
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import Buffers, KernelType, Shape


@rule("KR137", "its methods keep no tensors of their callers", needs=("KR104", "KR113", "KR115"))
def methods_keep_nothing(subject: KernelTypeUnderTest) -> None:
    m = subject.at("tail")
    for shape in subject.every_shape:
        with subject.applied(shape):
            kept = _still_there(subject.kernel_type, _methods(subject.kernel_type, shape, m))
        _check("arguments(), read_m(), read_shape(), launch() and execute()", kept, shape, m)


@rule("KR321", "a launch keeps no tensors of its caller", needs=("KR137", "KR318"), on_device=True)
def launch_keeps_nothing(subject: KernelTypeUnderTest) -> None:
    if subject.device != "cpu":
        raise NotApplicable("it is checked on a CPU only; KR137 checks the methods")
    m = subject.at("tail")
    for shape in device_shapes(subject):
        kept = _still_there(subject.kernel_type, _launches(subject, shape, m))
        _check("execute(buffers, m)", kept, shape, m)


def _check(what: str, kept: Mapping[str, int], shape: Shape, m: int) -> None:
    if kept:
        got = f"keeps the memory of {', '.join(sorted(kept))}"
        wanted = "nothing of it, once the caller has let go: each call would take more memory"
        raise RuleViolation(what, got, wanted, location(shape, m))


def _still_there(kernel_type: KernelType, uses: Iterator[Buffers]) -> dict[str, int]:
    """Names of the inputs and outputs whose memory is in use after their buffers are gone, and how often."""
    from torch.multiprocessing.reductions import StorageWeakRef

    references: list[tuple[str, StorageWeakRef]] = []
    for buffers in uses:
        for name, spec in kernel_type.buffers(buffers.shape, buffers.max_m).items():
            if spec.role != "weight":  # a server keeps its weights anyhow
                references.append((name, StorageWeakRef(buffers.tensors[name].untyped_storage())))
        del buffers
    gc.collect()
    kept: dict[str, int] = {}
    for name, reference in references:
        if not reference.expired():
            kept[name] = kept.get(name, 0) + 1
    return kept


def _methods(kernel_type: KernelType, shape: Shape, m: int) -> Iterator[Buffers]:
    """Buffers after their use by each method; the recorder launches nothing."""
    buffers = kernel_type.allocate_buffers(shape, m, "cpu")
    recorder, calls = recorder_of(kernel_type)
    call = kernel_type.arguments(buffers, m)
    kernel_type.read_m(*call.args, **call.kwargs)
    kernel_type.read_shape(*call.args, **call.kwargs)
    recorder.launch(*call.args, **call.kwargs)
    recorder.execute(buffers, m)
    calls.clear()
    yield buffers


def _launches(subject: KernelTypeUnderTest, shape: Shape, m: int) -> Iterator[Buffers]:
    """Buffers after two launches in each."""
    for seed in (96, 97):
        filled = filled_buffers(subject.kernel_type, shape, m, subject.padded_rows(m), seed, NAN_POISON, "cpu")
        with applied(subject.kernel_type, shape):
            subject.kernel_type.execute(filled.buffers, m)
            subject.kernel_type.execute(filled.buffers, m)
        yield filled.buffers
