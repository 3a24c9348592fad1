"""Kernel types for tests: importable, so that they can be sent to the child processes of a dry run.

Those that plan call DeepGEMM's smallest function, ``tf32_hc_prenorm_gemm``, and misbehave around it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kregistry import (
    ArchSupport,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Choice,
    Dimension,
    KernelType,
    RunDimension,
    Shape,
    Signature,
    Size,
    Value,
)

if TYPE_CHECKING:
    import torch


def double_m(shape: Shape, m: int) -> int:
    return 2 * m


class Sample(KernelType):
    """d = a * n on any device: plain torch behind the contract."""

    name = "sample"
    summary = "a sample"
    dimensions: tuple[Dimension, ...] = (
        Size("n", "columns", "columns", multiple_of=8),
        Choice("layout", "row or column major", ("row", "column"), default="row"),
        Size("splits", "parts", default=None, optional=True, policies={"double": double_m}),
        Size("sms", "SMs to use", default=lambda target: target.num_sms),
    )
    run_dimension = RunDimension("m", "rows", "rows")
    function_names = ("sample_function",)
    signature = Signature("a, d, scale")
    archs = (
        ArchSupport("sm90"),
        ArchSupport("sm100", ">=0.2", "0.1 asserts"),
        ArchSupport("sm120", "none", "never written"),
    )

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        n = shape.n
        return {
            "a": BufferSpec((max_m, n), "bfloat16"),
            "w": BufferSpec((n,), "float32", "weight"),
            "d": BufferSpec((max_m, n), "bfloat16", "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.a[:m], buffers.d[:m]), {"scale": buffers.shape.n})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.a.shape[1]}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        buffers.a[:m].normal_(generator=generator)

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.a[:m].float() * buffers.shape.n}

    def function(self) -> Callable[..., Any]:
        return lambda a, d, scale: d.copy_(a * scale)


class OtherSample(Sample):
    """The same name from another author."""

    summary = "another sample"


class Prenorm(Sample):
    """A real DeepGEMM call, with n and k fixed to the cheapest that there is."""

    name = "prenorm"
    dimensions = (Size("n", "columns", multiple_of=8, default=24),)
    signature = Signature("a, b, d, sqr_sum, num_splits=None")
    archs = (ArchSupport("sm90"),)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {
            "a": BufferSpec((max_m, 256), "bfloat16"),
            "b": BufferSpec((shape.n, 256), "float32", "weight"),
            "d": BufferSpec((max_m, shape.n), "float32", "output"),
            "s": BufferSpec((max_m,), "float32", "output"),
        }

    def arguments(self, buffers: Buffers, m: int) -> Call:
        return Call((buffers.a[:m], buffers.b, buffers.d[:m], buffers.s[:m]), {"num_splits": None})

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.b.shape[0]}

    def function(self) -> Callable[..., Any]:
        import deep_gemm

        return deep_gemm.tf32_hc_prenorm_gemm


class ReadsOnTheHost(Prenorm):
    """Follows a device pointer on the host."""

    name = "reads_on_the_host"

    def execute(self, buffers: Buffers, m: int) -> Any:
        return ctypes.string_at(buffers.a.data_ptr(), 4)


class Copies(Prenorm):
    """Copies a number from the device to decide what to launch."""

    name = "copies"

    def execute(self, buffers: Buffers, m: int) -> Any:
        if buffers.a[0, 0].item() == 0:
            return super().execute(buffers, m)
        return None


class CopiesAndSaysSo(Copies):
    """The same, declared."""

    name = "copies_and_says_so"
    reads_device_memory = True


class Crashes(Prenorm):
    """Reads address 0."""

    name = "crashes"

    def execute(self, buffers: Buffers, m: int) -> Any:
        return ctypes.string_at(0)


class Exits(Prenorm):
    """Ends the process."""

    name = "exits"

    def execute(self, buffers: Buffers, m: int) -> Any:
        print("a last word", flush=True)
        os._exit(7)


class CallsAMisspeltFunction(Prenorm):
    """DeepGEMM has no function of this name."""

    name = "calls_a_misspelt_function"
    function_names = ("tf32_hc_prenorm_gem",)
    function = KernelType.function


class Raises(Prenorm):
    """Raises at some m, as an engine's own checks would."""

    name = "raises"

    def execute(self, buffers: Buffers, m: int) -> Any:
        if 3 <= m <= 5 or m >= 7:
            raise ValueError("too much" if m < 8 else "far too much")
        return super().execute(buffers, m)


class Refuses(Prenorm):
    """Declares where a call would harm the process."""

    name = "refuses"

    def refusal(self, shape: Shape, m: int) -> str | None:
        return "would crash" if m > 6 else None

    def execute(self, buffers: Buffers, m: int) -> Any:
        return ctypes.string_at(0) if m > 6 else super().execute(buffers, m)


class FailsToAllocate(Prenorm):
    """Declares a dtype that torch does not have."""

    name = "fails_to_allocate"

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return {**super().buffers(shape, max_m), "c": BufferSpec((1,), "float7")}


class LooksAtTheDevice(Prenorm):
    """Raises what torch sees of the device."""

    name = "looks_at_the_device"

    def execute(self, buffers: Buffers, m: int) -> Any:
        import torch

        p = torch.cuda.get_device_properties(0)
        seen = (p.name, p.major, p.minor, p.multi_processor_count, p.L2_cache_size, p.total_memory)
        raise LookupError(repr((*seen, torch.cuda.device_count(), torch.cuda.mem_get_info())))


class TooLittleRoom(Prenorm):
    """Gives DeepGEMM an output that is too small from m = 5 on."""

    name = "too_little_room"

    def arguments(self, buffers: Buffers, m: int) -> Call:
        call = super().arguments(buffers, m)
        return Call((*call.args[:3], buffers.s[: min(m, 4)]), call.kwargs)


class StopsShort(Prenorm):
    """Has room for 5 rows, whatever is asked for: further values launch the kernel of 5 rows."""

    name = "stops_short"

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        return super().buffers(shape, min(max_m, 5))


class ReadsAnotherShape(Prenorm):
    """Reads a dimension off the wrong tensor."""

    name = "reads_another_shape"

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": 8 * call.a.shape[0]}


class RaisesInArguments(Prenorm):
    """Has another message at each value."""

    name = "raises_in_arguments"

    def arguments(self, buffers: Buffers, m: int) -> Call:
        if m > 2:
            raise IndexError(f"{m} rows are more than {m - 1}")
        return super().arguments(buffers, m)


class LaunchesNothing(Prenorm):
    """Does its work without a kernel of DeepGEMM, for even m."""

    name = "launches_nothing"

    def execute(self, buffers: Buffers, m: int) -> Any:
        return super().execute(buffers, m) if m % 2 else None


class HandsOn(Prenorm):
    """DeepGEMM hands the call on to cuBLASLt."""

    name = "hands_on"

    def execute(self, buffers: Buffers, m: int) -> Any:
        import deep_gemm

        deep_gemm.cublaslt_gemm_nt(buffers.a[:m], buffers.a[:m], buffers.a.new_empty(m, m))
