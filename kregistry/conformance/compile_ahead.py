"""Compile the kernels of the launches on a GPU in advance and in parallel; DeepGEMM compiles one at a time."""

from __future__ import annotations

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest
from kregistry.conformance.large_launch import smallest_of, value_to_launch
from kregistry.conformance.random_shapes import RANDOM_VALUES, other_shapes, random_values
from kregistry.conformance.rule import Level


def compile_ahead(subject: KernelTypeUnderTest) -> None:
    """Fill DeepGEMM's JIT cache with the kernels of every case, once. A kernel that fails is reported by its launch.

    Raises:
        StorageError: the store or the JIT cache cannot be written.
    """
    if subject.device == "cuda" and Level.STUB not in subject.machine.unavailable:
        subject.once("compiled ahead", lambda: _compile(subject))


def _compile(subject: KernelTypeUnderTest) -> None:
    from kregistry.compile.pipeline import Pipeline
    from kregistry.deep_gemm.jit_cache import JitCache
    from kregistry.event_bus import EventBus
    from kregistry.machine import available_cores
    from kregistry.store import Store

    probed = [subject.probed(shape) for shape in subject.device_shapes]
    # Only kernels of warm-up; KR309 checks whether serving needs others.
    values = random_values(subject, RANDOM_VALUES)
    probed += [subject.probed(shape, values) for shape in other_shapes(subject, subject.machine.gpu)]
    smallest = smallest_of(subject.kernel_type, subject.device_shapes, subject.at("tail"))
    large = value_to_launch(subject.kernel_type, smallest, subject.device)
    probed += [subject.probed(smallest, (large,))] if large is not None else []
    met = {kernel for each in probed for value in each.values for kernel in value.warm_up.kernels}
    kernels = subject.machine.prober(subject.machine.gpu).kernels
    nvcc = subject.machine.toolchain.cuda.nvcc
    with Pipeline(EventBus(), Store.default(), JitCache(), nvcc, available_cores()) as pipeline:
        for kernel in sorted(met):
            pipeline.add(kernels[kernel])
        pipeline.finish()
