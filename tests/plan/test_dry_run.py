"""The dry run: DeepGEMM's host code on the stub GPU, with kernel types that behave and some that do not."""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from sample_kernel_types import (
    CallsAMisspeltFunction,
    Copies,
    CopiesAndSaysSo,
    Crashes,
    Exits,
    FailsToAllocate,
    HandsOn,
    LaunchesNothing,
    LooksAtTheDevice,
    Prenorm,
    Raises,
    RaisesInArguments,
    ReadsAnotherShape,
    ReadsOnTheHost,
    Refuses,
    StopsShort,
    TooLittleRoom,
)
from shapes import entry_of

from kregistry.errors import MissingRequirement, StorageError
from kregistry.kernel import Kernel
from kregistry.kernel_type import KernelType
from kregistry.plan import PlannedEntry, Segment, sweep
from kregistry.plan.dry_run import DryRun
from kregistry.plan.sweep import Sweep
from kregistry.registry import Registry
from kregistry.target import TARGETS
from kregistry.toolchain import Toolchain


class Nowhere(Prenorm):
    """Cannot be imported by the child: pickle refuses what is not found under its name."""

    name = "nowhere"

    def __reduce__(self) -> str:
        return "a_name_that_is_nowhere"


HC_STOP = 2000
HC = Registry()["tf32_hc_prenorm_gemm"]
GEMM = Registry()["fp8_gemm_nt"]

#: In this order, so that entries come before and after those that kill the process.
SAMPLES: Sequence[KernelType] = (
    Prenorm(),
    ReadsOnTheHost(),
    Crashes(),
    Exits(),
    Copies(),
    CopiesAndSaysSo(),
    CallsAMisspeltFunction(),
    Raises(),
    Refuses(),
    FailsToAllocate(),
    LooksAtTheDevice(),
    TooLittleRoom(),
    StopsShort(),
    ReadsAnotherShape(),
    RaisesInArguments(),
    LaunchesNothing(),
    HandsOn(),
    Nowhere(),
)


class Outcome:
    """The result of one dry run of all samples, and its events."""

    def __init__(self, toolchain: Toolchain, stub_directory: Path, scratch: Path) -> None:
        self.scratch = scratch
        self.kernels: list[Kernel] = []
        self.entries: list[PlannedEntry] = []
        self.run = DryRun(toolchain, TARGETS["h100"], stub_directory, self.kernels.append, self.entries.append)
        sweeps = [Sweep(entry_of(sample), sample, "samples (tests 1.0)") for sample in SAMPLES]
        sweeps.append(Sweep(entry_of(HC, HC_STOP, n=24, k=4096, num_splits="occupancy"), HC))
        sweeps.append(Sweep(entry_of(GEMM, 70, start=4, step=3, n=576, k=512), GEMM))
        self.planned = self.run.run(sweeps, processes=2)

    def of(self, sample: type[KernelType]) -> PlannedEntry:
        return next(each for each in self.planned if each.entry.kernel_type == sample.name)


@pytest.fixture(scope="module")
def outcome(toolchain: Toolchain, stub_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    scratch = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sweep, "_VALUES_PER_PART", 300)
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        return Outcome(toolchain, stub_directory, scratch)


# ---- entries that plan --------------------------------------------------------------------------------------------


def covered(planned: PlannedEntry) -> list[int]:
    values = planned.entry.range.values()
    return [value for value in values for segment in planned.segments if segment.start <= value <= segment.stop]


def test_a_plain_entry_has_one_segment(outcome: Outcome) -> None:
    planned = outcome.of(Prenorm)
    (kernel,) = planned.kernels()
    assert planned.ok
    assert planned.segments == (Segment(1, 8, (kernel,)),)
    assert kernel.startswith("sm90_tf32_hc_prenorm_gemm.")
    assert planned.nbytes == Prenorm().memory_requirement(planned.entry.shape, 1)


def test_a_policy_is_followed_value_by_value(outcome: Outcome) -> None:
    """One kernel for each number of splits, and a new segment wherever the number changes."""
    planned = outcome.of(type(HC))
    splits = [HC.dimensions[2].policies["occupancy"](planned.entry.shape, m) for m in range(1, HC_STOP + 1)]
    changes = [1, *(m for m in range(2, HC_STOP + 1) if splits[m - 1] != splits[m - 2])]
    assert len(changes) > 5
    assert [segment.start for segment in planned.segments] == changes
    assert len(planned.kernels()) == len(set(splits))
    by_kernel = {segment.kernels: splits[segment.start - 1] for segment in planned.segments}
    assert len(set(by_kernel.values())) == len(by_kernel)


def test_segments_cover_the_range_once_although_it_was_cut_into_parts(outcome: Outcome) -> None:
    for planned in (outcome.of(type(HC)), outcome.of(type(GEMM))):
        assert planned.ok
        assert covered(planned) == list(planned.entry.range.values())
        assert all(a.kernels != b.kernels for a, b in zip(planned.segments, planned.segments[1:]))


def test_a_call_that_launches_two_kernels_has_both(outcome: Outcome) -> None:
    """On SM90 each FP8 GEMM first transposes its scale factors."""
    planned = outcome.of(type(GEMM))
    families = {tuple(each.rpartition(".")[0] for each in segment.kernels) for segment in planned.segments}
    assert families == {("transpose_fp32", "sm90_fp8_gemm_1d2d")}


def test_calls_without_a_launch_are_a_segment_without_kernels(outcome: Outcome) -> None:
    planned = outcome.of(LaunchesNothing)
    (kernel,) = planned.kernels()
    assert planned.segments == tuple(Segment(m, m, (kernel,) if m % 2 else ()) for m in range(1, 9))


def test_a_call_that_cublaslt_does_is_a_plan_without_kernels_that_says_so(outcome: Outcome) -> None:
    planned = outcome.of(HandsOn)
    assert planned.ok and planned.segments == (Segment(1, 8, ()),)
    assert planned.remark() == "nothing to compile: cuBLASLt"
    assert not outcome.of(LaunchesNothing).cublaslt


def test_each_kernel_is_reported_once_and_registered(outcome: Outcome) -> None:
    ids = [kernel.id for kernel in outcome.kernels]
    assert len(set(ids)) == len(ids)
    assert set(ids) == set(outcome.run.kernels)
    used = {kernel for planned in outcome.planned for kernel in planned.kernels()}
    assert used <= set(ids)


def test_each_entry_is_reported_once_and_returned_in_order(outcome: Outcome) -> None:
    assert len(outcome.entries) == len(outcome.planned)
    assert {id(each) for each in outcome.entries} == {id(each) for each in outcome.planned}
    names = [each.entry.kernel_type for each in outcome.planned]
    assert names == [*(sample.name for sample in SAMPLES), HC.name, GEMM.name]


def test_torch_sees_the_target(outcome: Outcome) -> None:
    target = TARGETS["h100"]
    (refusal,) = outcome.of(LooksAtTheDevice).refusals
    seen = (target.device_name, 9, 0, target.num_sms, target.l2_bytes, target.memory_bytes)
    assert refusal.reason == f"LookupError: {(*seen, 1, (target.memory_bytes, target.memory_bytes))!r}"


# ---- entries that do not -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "error"),
    [
        (ReadsOnTheHost, "touches device memory on the host: the stub GPU ended the process"),
        (Crashes, "crashes: the process died of SIGSEGV"),
        (Exits, "the process ended with exit code 7: a last word"),
        (
            Copies,
            "reads device memory on the host (8 copies): which kernel it launches may depend on data that a plan "
            "does not have",
        ),
        (
            CallsAMisspeltFunction,
            "the installed DeepGEMM has no function tf32_hc_prenorm_gem (kernel type calls_a_misspelt_function); "
            "did you mean 'tf32_hc_prenorm_gemm'?",
        ),
        (FailsToAllocate, "AttributeError: module 'torch' has no attribute 'float7'"),
    ],
)
def test_what_harms_the_process_is_named_and_the_others_go_on(
    outcome: Outcome, sample: type[KernelType], error: str
) -> None:
    planned = outcome.of(sample)
    assert planned.error == error
    assert planned.problems() == (f"model: {sample.name} n=24: {error}",)
    assert (planned.segments, planned.nbytes) == ((), 0)


def test_a_kernel_type_that_cannot_be_sent_is_named(outcome: Outcome) -> None:
    error = outcome.of(Nowhere).error
    assert error.startswith("the kernel type cannot be sent to the dry run, its class must be importable: ")
    assert "a_name_that_is_nowhere" in error


def test_reading_device_memory_is_allowed_where_it_is_declared(outcome: Outcome) -> None:
    assert outcome.of(CopiesAndSaysSo).ok
    assert outcome.of(CopiesAndSaysSo).kernels() == outcome.of(Prenorm).kernels()


def test_what_deep_gemm_refuses_is_reported_with_its_range(outcome: Outcome) -> None:
    planned = outcome.of(TooLittleRoom)
    (refusal,) = planned.refusals
    assert not planned.ok and not planned.error
    assert (refusal.start, refusal.stop) == (5, 8)
    assert refusal.reason.startswith("RuntimeError: Assertion error (")
    assert "hyperconnection.hpp:" in refusal.reason
    assert [(segment.start, segment.stop) for segment in planned.segments] == [(1, 4)]
    (problem,) = planned.problems()
    assert problem.startswith("model: too_little_room n=24: DeepGEMM refuses m 5..8: RuntimeError: Assertion")


def test_exceptions_of_some_values_leave_the_others(outcome: Outcome) -> None:
    planned = outcome.of(Raises)
    assert [(each.start, each.stop, each.reason) for each in planned.refusals] == [
        (3, 5, "ValueError: too much"),
        (7, 7, "ValueError: too much"),
        (8, 8, "ValueError: far too much"),
    ]
    assert [(segment.start, segment.stop) for segment in planned.segments] == [(1, 2), (6, 6)]
    assert len(planned.kernels()) == 1


def line_of(code: object, text: str) -> str:
    """``file:line`` of the line with a text in the source of a class or function."""
    lines, first = inspect.getsourcelines(code)  # type: ignore[arg-type]
    return f"{inspect.getsourcefile(code)}:{first + next(i for i, line in enumerate(lines) if text in line)}"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (
            StopsShort,
            "read_m(*arguments(buffers, m=8)) gives 5, expected 8: the buffers stop short, or another call is made",
        ),
        (ReadsAnotherShape, "read_shape(*arguments(buffers, m=1)) gives n=8, expected n=24"),
    ],
)
def test_a_plugin_that_makes_another_call_is_an_error_that_names_it(
    outcome: Outcome, sample: type[KernelType], text: str
) -> None:
    """Case: buffers that stop at 256 rows left 11 of 14 kernels out, with exit code 0."""
    planned = outcome.of(sample)
    place = line_of(sample, "class ")
    assert planned.error == f"the plugin samples (tests 1.0) is wrong: {place}: {text}"
    assert planned.segments == () and not planned.ok


def test_what_a_kernel_type_refuses_is_one_range_with_file_and_line(outcome: Outcome) -> None:
    (problem,) = outcome.of(RaisesInArguments).problems()
    place = line_of(RaisesInArguments, "raise IndexError")
    assert problem == (
        f"model: raises_in_arguments n=24: the kernel type ({place}) refuses m 3..8: IndexError: 3 rows are more than 2"
    )
    (refusal,) = outcome.of(Refuses).refusals
    assert refusal.by == line_of(Refuses.refusal, "def refusal")


def test_a_declared_refusal_is_never_called(outcome: Outcome) -> None:
    planned = outcome.of(Refuses)
    assert [(each.start, each.stop, each.reason) for each in planned.refusals] == [(7, 8, "would crash")]
    assert [(segment.start, segment.stop) for segment in planned.segments] == [(1, 6)]


# ---- the run itself -------------------------------------------------------------------------------------------------


def test_nothing_is_left_behind(outcome: Outcome) -> None:
    assert list(outcome.scratch.iterdir()) == []


def test_no_sweeps_is_no_error(toolchain: Toolchain, stub_directory: Path) -> None:
    assert DryRun(toolchain, TARGETS["h100"], stub_directory).run([], processes=2) == ()


def test_no_temporary_directory(
    toolchain: Toolchain, stub_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="Not a directory"):
        DryRun(toolchain, TARGETS["h100"], stub_directory).run([Sweep(entry_of(Prenorm()), Prenorm())], processes=1)


def test_every_child_that_does_not_start_knows_why(
    toolchain: Toolchain, stub_directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Either of them may be reported first."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(Path(sweep.__file__).parents[2])])
    sweeps = [Sweep(entry_of(Prenorm()), Prenorm())] * 4
    with pytest.raises(MissingRequirement, match=r"exit code 1: ModuleNotFoundError.*\):\nTraceback"):
        DryRun(toolchain, TARGETS["h100"], stub_directory).run(sweeps, processes=4)


def test_an_error_of_a_listener_ends_the_run(toolchain: Toolchain, stub_directory: Path) -> None:
    def refuse(kernel: Kernel) -> None:
        raise StorageError("/store", "disk full")

    run = DryRun(toolchain, TARGETS["h100"], stub_directory, on_kernel=refuse)
    with pytest.raises(StorageError, match="/store: disk full"):
        run.run([Sweep(entry_of(Prenorm()), Prenorm())], processes=1)
