"""Sweeps on the stub GPU, with the calls of Python and with repeated ones: prints whether both find the same.

A line for each kernel type: its name, whether its calls were repeated, whether the answers are equal, the number of
segments, and the number of values that are refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from good_kernel_types import Bf16Gemm

from kregistry import Buffers, BufferSpec, Call, KernelType, Registry, Shape, get_target, load_manifest
from kregistry.deep_gemm.settings import applied
from kregistry.manifest import Entry
from kregistry.stub.recorder import Recorder
from kregistry.stub.sweeping import _repeat, sweep

VALUES = range(8, 201)
MANIFEST = Path(__file__).parents[2] / "benchmarks" / "every-sm90-kernel-type.yaml"
#: How many values of the kernel types of this repository are swept.
OF_PLUGINS = 200


class ByPython(Bf16Gemm):
    """Says nothing of its arguments."""


class Repeated(Bf16Gemm):
    """Says that they are linear, and they are."""

    def linear_arguments(self, shape: Shape) -> bool:
        return True


class Refused(Repeated):
    """Linear, but DeepGEMM refuses the stride of most values, which lie between two that it takes."""

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {**super().buffers(shape, max_m), "a": BufferSpec((2 * max_m, shape.k), "bfloat16")}

    def arguments(self, buffers: Buffers, m: int) -> Call:
        a = buffers.a.as_strided((m, buffers.shape.k), (buffers.shape.k + m, 1))
        return Call((a, buffers.b, buffers.d[:m]))


class RefusedByPython(Refused):
    def linear_arguments(self, shape: Shape) -> bool:
        return False


class Stepping(Repeated):
    """Says that they are linear, and they are not."""

    def arguments(self, buffers: Buffers, m: int) -> Call:
        rows = m if m < 100 or m == VALUES[-1] else 64
        return Call((buffers.a[:rows], buffers.b, buffers.d[:rows]))

    def read_m(self, *args: object, **kwargs: object) -> int:
        return Stepping.asked

    asked = 0

    def execute(self, buffers: Buffers, m: int) -> object:
        Stepping.asked = m
        return super().execute(buffers, m)


class SteppingByPython(Stepping):
    def linear_arguments(self, shape: Shape) -> bool:
        return False


def main() -> None:
    recorder = Recorder()
    for by_python, kernel_type in ((ByPython(), Repeated()), (RefusedByPython(), Refused())):
        show(recorder, by_python, kernel_type)
    show(recorder, SteppingByPython(), Stepping())
    for kernel_type, entry in linear_entries():
        compare(recorder, kernel_type, entry.shape, entry.range.values()[:OF_PLUGINS])
    sys.stdout.flush()
    os._exit(0)  # an orderly end of torch takes a second


def linear_entries() -> Iterator[tuple[KernelType, Entry]]:
    """An entry of each kernel type of this repository that says that its calls can be repeated."""
    registry = Registry()
    seen: set[str] = set()
    for entry in load_manifest(MANIFEST, registry, "h100").entries:
        kernel_type = registry[entry.kernel_type]
        if kernel_type.linear_arguments(entry.shape) and kernel_type.name not in seen:
            seen.add(kernel_type.name)
            yield kernel_type, entry


def without_repeating(kernel_type: KernelType) -> KernelType:
    """The same kernel type, which says nothing of its arguments."""
    made = type(type(kernel_type).__name__, (type(kernel_type),), {"linear_arguments": lambda self, shape: False})
    copy: KernelType = object.__new__(made)
    copy.__dict__.update(vars(kernel_type))
    return copy


def compare(recorder: Recorder, kernel_type: KernelType, shape: Shape, values: range) -> None:
    line = both(recorder, without_repeating(kernel_type), kernel_type, shape, values)
    print(kernel_type.name, *line)


def show(recorder: Recorder, by_python: KernelType, kernel_type: KernelType) -> None:
    shape = kernel_type.resolve({"n": 256, "k": 512}, get_target("h100"))
    print(type(kernel_type).__name__, *both(recorder, by_python, kernel_type, shape, VALUES))


def both(
    recorder: Recorder, by_python: KernelType, kernel_type: KernelType, shape: Shape, values: range
) -> tuple[object, ...]:
    with applied(kernel_type, shape):
        one = sweep(by_python, shape, values, recorder, lambda: None)
        other = sweep(kernel_type, shape, values, recorder, lambda: None)
        buffers = kernel_type.allocate_buffers(shape, values[-1])
        repeated = _repeat(kernel_type, buffers, values, recorder, lambda: None) is not None
    equal = one.segments == other.segments and [(r.start, r.stop) for r in one.refusals] == [
        (r.start, r.stop) for r in other.refusals
    ]
    refused = sum(run.stop - run.start + 1 for run in other.refusals)
    return repeated, equal, len(other.segments), refused, other.error


if __name__ == "__main__":
    main()
