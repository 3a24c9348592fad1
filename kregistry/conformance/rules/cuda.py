"""Rules for a CUDA device: streams, graphs, memory, and no compiler after warm-up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kregistry.conformance.cases import start_of, sweep_of
from kregistry.conformance.comparison import disagreement
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.buffers import bytes_held
from kregistry.conformance.rules.numerics import device_shapes
from kregistry.conformance.trial import filled_buffers, results_of
from kregistry.deep_gemm.compiled import CompileWatch
from kregistry.kernel_type import Buffers, EmptyInput, Shape

if TYPE_CHECKING:
    from kregistry.plan import PlannedEntry

#: Cycles for which a stream is kept busy; a launch on another stream ends long before.
_BUSY_CYCLES = 100_000_000


def _shapes(subject: KernelTypeUnderTest) -> Iterator[Shape]:
    """Each example shape, with its settings applied."""
    if subject.device != "cuda":
        raise NotApplicable("it does not run on CUDA devices")
    for shape in device_shapes(subject):
        with subject.applied(shape):
            yield shape


def _inputs(subject: KernelTypeUnderTest, shape: Shape, m: int, seed: int, pattern: int = NAN_POISON) -> Buffers:
    room = subject.padded_rows(m)
    return filled_buffers(subject.kernel_type, shape, m, room, seed, pattern, "cuda").buffers


def _compare(subject: KernelTypeUnderTest, what: str, buffers: Buffers, value: object, wanted: Buffers, m: int) -> None:
    """Raise if the results of a launch that returned ``value`` differ from the reference for ``wanted``."""
    limit = subject.kernel_type.proof.tolerance
    results = results_of(subject.kernel_type, buffers, m, value)
    for name, expected in subject.kernel_type.reference(wanted, m).items():
        found = disagreement(results[name], expected, limit)
        if found is not None:
            raise RuleViolation(what, f"{found} in {name!r}", f"at most {found.limit:g}", location(buffers.shape, m))


def _copy(source: Buffers, target: Buffers) -> None:
    for name, tensor in source.tensors.items():
        target.tensors[name].copy_(tensor)


@rule("KR306", "a launch on another stream waits for that stream", needs=("KR301",))
def streams(subject: KernelTypeUnderTest) -> None:
    """The inputs arrive on a busy stream: a launch on another stream computes with the old inputs."""
    import torch

    m = subject.at("tail")
    for shape in _shapes(subject):
        fresh = _inputs(subject, shape, m, seed=11)
        buffers = _inputs(subject, shape, m, seed=12)
        subject.kernel_type.execute(buffers, m)  # compile and load the kernel first
        torch.cuda.synchronize()
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(_BUSY_CYCLES)
            _copy(fresh, buffers)
            value = subject.kernel_type.execute(buffers, m)
        stream.synchronize()
        torch.cuda.synchronize()
        _compare(subject, "a launch on a busy stream", buffers, value, fresh, m)


@rule("KR307", "a launch can be captured in a CUDA graph and replayed", needs=("KR301",))
def graphs(subject: KernelTypeUnderTest) -> None:
    import torch

    m = subject.at("tail")
    for shape in _shapes(subject):
        buffers = _inputs(subject, shape, m, seed=21)
        subject.kernel_type.execute(buffers, m)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                value = subject.kernel_type.execute(buffers, m)
        except Exception as error:
            got = " ".join(str(error).split())[:300]
            wanted = "a launch without synchronisation or host reads"
            raise RuleViolation("execute(buffers, m) under capture", got, wanted, location(shape, m)) from error
        fresh = _inputs(subject, shape, m, seed=22)
        _copy(fresh, buffers)
        graph.replay()
        torch.cuda.synchronize()
        _compare(subject, "a replayed graph with new inputs", buffers, value, fresh, m)


@rule("KR308", "memory in use stays within what is declared", needs=("KR301",))
def memory(subject: KernelTypeUnderTest) -> None:
    import torch

    kernel_type, m = subject.kernel_type, subject.at("largest")
    for shape in _shapes(subject):
        kernel_type.execute(kernel_type.allocate_buffers(shape, m), m)
        torch.cuda.synchronize()
        before = _requested("current")
        torch.cuda.reset_peak_memory_stats()
        buffers = kernel_type.allocate_buffers(shape, m)
        kernel_type.execute(buffers, m)
        torch.cuda.synchronize()
        used = _requested("peak") - before
        buffer_bytes = kernel_type.memory_requirement(shape, m)
        launch_bytes = kernel_type.workspace_requirement(shape, m)
        if used > buffer_bytes + launch_bytes:
            what = f"memory_requirement + workspace_requirement at max_m={m}"
            got = f"{buffer_bytes} + {launch_bytes} bytes"
            held = bytes_held(buffers)
            raise RuleViolation(
                what, got, f"at least the {used} in use ({held} of them in buffers)", location(shape, m)
            )


def _requested(which: str) -> int:
    """Bytes requested from torch's allocator, before rounding."""
    import torch

    return int(torch.cuda.memory_stats().get(f"requested_bytes.all.{which}", 0))


@rule("KR309", "after warm-up no value needs a compiler", needs=("KR301",))
def warmed(subject: KernelTypeUnderTest) -> None:
    """Plan, launch once per kernel, then serve every value. DeepGEMM's cache must not grow."""
    import torch

    kernel_type = subject.kernel_type
    values = sweep_of(kernel_type)
    plans, directories = _plan(subject)
    for shape in _shapes(subject):
        planned = plans[shape]
        if not planned.ok:
            raise RuleViolation("the dry run", "; ".join(planned.problems()), "a plan", location(shape))
        for m in planned.launch_points():
            kernel_type.execute(kernel_type.allocate_buffers(shape, m), m)
        torch.cuda.synchronize()
        watch = CompileWatch(directories)
        for m in values:
            # Made for each value and not filled: the initial values of index buffers are valid for a launch at max_m.
            buffers = kernel_type.allocate_buffers(shape, max(m, kernel_type.run_dimension.start))
            call = kernel_type.arguments(buffers, m)
            kernel_type.launch(*call.args, **call.kwargs)
            compiled = sorted(watch.compiled())
            if compiled:
                got = f"DeepGEMM compiled {', '.join(each.name for each in compiled)}"
                raise RuleViolation(
                    f"serving after a warm-up at {planned.launch_points()}", got, "nothing", location(shape, m)
                )
        torch.cuda.synchronize()


def _plan(subject: KernelTypeUnderTest) -> tuple[Mapping[Shape, PlannedEntry], list[Path]]:
    """The plan of the swept range of each shape, and the directories in which DeepGEMM puts what it compiles."""
    from kregistry.deep_gemm.jit_cache import JitCache
    from kregistry.manifest.model import Entry, Range
    from kregistry.plan.dry_run import DryRun
    from kregistry.plan.sweep import Sweep

    shapes = device_shapes(subject)
    run = subject.kernel_type.run_dimension
    first = 0 if subject.kernel_type.empty_input is EmptyInput.LAUNCH else start_of(subject.kernel_type)
    values = Range(run.name, first, subject.at("largest"), run.step)
    sweeps = [Sweep(Entry("conformance", "", shape, values), subject.kernel_type) for shape in shapes]
    dry_run = DryRun(subject.machine.toolchain, subject.machine.gpu, subject.machine.stub_directory)
    planned = dry_run.run(sweeps, processes=1)
    return dict(zip(shapes, planned)), JitCache().written_directories(dry_run.kernels.values())
