"""Shared front ends of a build, with the real compiler: the same cubins, every way back to nvcc, every event."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from builds import Build
from compilers import compiler_that_fails_alone, compiler_with_assembler
from families import FLAGS, HEADER, family_kernel

from kregistry.compile.build_report import SharingReport
from kregistry.compile.nvcc import Nvcc
from kregistry.compile.pipeline import Pipeline
from kregistry.compile.shared import self_check
from kregistry.compile.shared.comparison import difference
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.hookspecs import hookimpl
from kregistry.kernel import Kernel
from kregistry.registry import Registry
from kregistry.store.claims import Claims
from kregistry.toolchain import Toolchain


def kernels(include: Path, *numbers: int, header: str = HEADER, flags: tuple[str, ...] = FLAGS) -> list[Kernel]:
    return [family_kernel(include, n, header=header, flags=flags) for n in numbers]


def cubin(build: Build, kernel: Kernel) -> bytes:
    stored = build.store.get(kernel.key)
    assert stored is not None and build.jit_cache.fault(kernel, stored) is None
    return stored.cubin.read_bytes()


def each_starts_and_ends_once(build: Build, *made: Kernel) -> None:
    """What listeners count on, however many compilers a kernel takes."""
    for name in ("kregistry_compile_started", "kregistry_kernel_compiled"):
        assert sorted(each["kernel"].key for each in build.heard(name)) == sorted(kernel.key for kernel in made)


@pytest.mark.slow
def test_cubins_are_those_that_nvcc_makes_alone(build: Build, toolchain: Toolchain, tmp_path: Path) -> None:
    """Headers once for three kernels, one of them compared; then two more of the family, and nothing to compare."""
    made = kernels(tmp_path, 8, 16, 24)
    record = build.run(*made)
    assert (len(record.compiled), record.failed) == (3, [])
    report = record.sharing()
    assert [each.family for each in report.parsed] == ["gemm.cuh"]
    assert sorted((run.family, len(run.kernels)) for run in report.front_ends) == [("gemm.cuh", 1), ("gemm.cuh", 2)]
    assert ([each.difference for each in report.compared], report.not_shared) == ([""], ())
    assert sorted(each.front_end_seconds is None for each in record.compiled) == [False, False, True]
    for kernel in made:
        alone = Nvcc(toolchain.cuda.nvcc).compile(kernel, tmp_path / "scratch")
        assert difference(cubin(build, kernel), alone.cubin) == ""
    again = build.run(*kernels(tmp_path, 32, 40)).sharing()
    assert ([len(run.kernels) for run in again.front_ends], again.compared) == ([2], ())


@pytest.mark.slow
def test_every_event_is_heard(build: Build, tmp_path: Path) -> None:
    """kregistry_front_end_started, _finished and _compared; each kernel starts and ends once all the same."""
    made = set(kernels(tmp_path, 8, 16, 24))
    build.run(*made)
    for name in ("kregistry_front_end_started", "kregistry_front_end_finished"):
        told = [kernel for each in build.heard(name) for kernel in each["kernels"]]
        assert (len(told), set(told)) == (3, made)
    assert all(each["seconds"] > 0 for each in build.heard("kregistry_front_end_finished"))
    (compared,) = build.heard("kregistry_front_end_compared")
    assert (compared["kernel"] in made, compared["difference"]) == (True, "")
    each_starts_and_ends_once(build, *made)


@pytest.mark.slow
def test_more_families_than_workers_take_turns(build: Build, tmp_path: Path) -> None:
    """One worker keeps the headers of one family; the others' are parsed when it has nothing left to do."""
    flags = [(*FLAGS, f"-DFAMILY={n}") for n in range(3)]
    made = [kernel for n in (8, 16, 24) for each in flags for kernel in kernels(tmp_path, n, flags=each)]
    record = build.run(*made, jobs=1)
    assert (len(record.compiled), record.failed) == (9, [])
    report = record.sharing()
    assert (len(report.parsed), [each.difference for each in report.compared]) == (3, [""] * 3)
    assert sum(len(run.kernels) for run in report.front_ends) == 9


def test_a_broken_kernel_is_named_alone_and_its_neighbours_are_ready(build: Build, tmp_path: Path) -> None:
    """Those that were in a front end with it share one again, without it."""
    *good, broken = kernels(tmp_path, 8, 16, 2000)
    record = build.run(*good, broken)
    assert {each.kernel for each in record.compiled} == set(good)
    (failed,) = record.failed
    assert failed.kernel is broken
    assert 'static assertion failed with "too large"' in failed.output
    assert "gemm<8>" not in failed.output
    assert "kernel.cu -cubin -arch=sm_90a" in failed.command
    (told,) = build.heard("kregistry_front_end_not_shared")
    assert told["kernel"] is broken
    assert "the shared front end failed: " in told["reason"] and "too large" in told["reason"]
    assert sorted(len(each["kernels"]) for each in build.heard("kregistry_front_end_finished")) == [1, 1, 1, 2]
    for kernel in good:
        assert cubin(build, kernel)


@pytest.mark.slow
def test_neighbours_of_a_broken_kernel_share_although_other_headers_need_room(build: Build, tmp_path: Path) -> None:
    """One worker keeps the headers of one family; those of a divided group stay until all of it has had its turn."""
    *good, broken = kernels(tmp_path, 8, 16, 24, 2000)
    others = kernels(tmp_path, 8, 16, flags=(*FLAGS, "-DFAMILY=1"))
    record = build.run(*good, broken, *others, jobs=1)
    assert {each.kernel for each in record.compiled} == {*good, *others}
    report = record.sharing()
    assert [each.kernel for each in report.not_shared] == [broken]
    assert sorted(kernel.key for run in report.front_ends for kernel in run.kernels) == sorted(
        kernel.key for kernel in (*good, *others)
    )


@pytest.mark.slow
def test_a_difference_disables_the_family_for_ever(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is injected into the comparison: every cubin is then nvcc's own, and the store remembers."""
    monkeypatch.setattr(self_check, "difference", lambda one, other: "the content of .text")
    made = kernels(tmp_path, 8, 16, 24)
    record = build.run(*made)
    assert [each.front_end_seconds for each in record.compiled] == [None] * 3
    each_starts_and_ends_once(build, *made)
    ((found,),) = [record.sharing().differences()]
    assert found.difference == "the content of .text"
    (remembered,) = (build.store.directory / "front_ends").iterdir()
    result = json.loads(remembered.read_text())
    assert (result["family"], result["kernel"]) == ("gemm.cuh", found.kernel.id)
    assert result["difference"] == "the content of .text"
    again = build.run(*kernels(tmp_path, 32, 40)).sharing()
    assert (again.front_ends, again.compared) == ((), ())
    reason = "a shared front end made another kernel than nvcc alone: the content of .text"
    assert [each.reason for each in again.not_shared] == [reason, reason]


@pytest.mark.slow
def test_paranoid_compares_every_kernel(build: Build, tmp_path: Path) -> None:
    made = kernels(tmp_path, 8, 16, 24)
    record = build.run(*made, options=SharingOptions(paranoid=True))
    assert [each.difference for each in record.sharing().compared] == [""] * 3
    assert [each.front_end_seconds for each in record.compiled] == [None] * 3
    each_starts_and_ends_once(build, *made)


def test_nothing_is_shared_where_that_is_switched_off(build: Build, tmp_path: Path) -> None:
    record = build.run(*kernels(tmp_path, 8, 16), options=SharingOptions(shared=False))
    assert len(record.compiled) == 2
    assert {name for name in build.log.names() if "front_end" in name} == set()
    assert not (build.store.directory / "front_ends").exists()


#: Device code that a source of several kernels may share between them.
NOT_INLINED = "namespace gemms { template <int k> __device__ __noinline__ void write(int* p) { *p = k; } }\n"
STATIC_DATA = "__device__ int counter = 3;\n"


@pytest.mark.parametrize(
    ("header", "flags", "reason"),
    [
        (HEADER, (*FLAGS, "-lineinfo"), "the flag -lineinfo is not known to leave a shared front end's code the same"),
        (NOT_INLINED + HEADER.replace("p[threadIdx", "write<1>(p); p[threadIdx"), FLAGS, "uses "),
        (STATIC_DATA + HEADER.replace("p[threadIdx", "p[1] = counter; p[threadIdx"), FLAGS, "uses counter"),
        (STATIC_DATA + HEADER, FLAGS, "no entry uses counter"),
    ],
    ids=["flag", "device function", "static data", "static data of the headers"],
)
def test_what_is_not_understood_is_compiled_alone(
    build: Build, tmp_path: Path, header: str, flags: tuple[str, ...], reason: str
) -> None:
    record = build.run(*kernels(tmp_path, 8, 16, header=header, flags=flags))
    assert [each.front_end_seconds for each in record.compiled] == [None] * 2
    not_shared = record.sharing().not_shared
    assert len(not_shared) == 2
    assert all(each.reason.startswith(reason) for each in not_shared), not_shared


def test_one_kernel_shares_with_nobody(build: Build, tmp_path: Path) -> None:
    report = build.run(*kernels(tmp_path, 8)).sharing()
    assert (report.front_ends, report.not_shared, report.compared) == ((), (), ())


@pytest.mark.parametrize(
    ("assembler", "reason"),
    [
        ("no-such-assembler", "no-such-assembler is not where nvcc looks for it"),
        ("false", "the assembler failed on the split PTX: the compiler ended with exit code 1 and no message"),
        ("true", "the assembler failed on the split PTX: the compiler reported success, but an empty file"),
    ],
)
def test_an_assembler_that_makes_nothing_leaves_all_to_nvcc(
    build: Build, tmp_path: Path, assembler: str, reason: str
) -> None:
    """The sample is compiled alone once, and so is every other."""
    made = kernels(tmp_path, 8, 16, 24)
    build.nvcc = compiler_with_assembler(tmp_path / "nvcc", build.nvcc, assembler)
    record = build.run(*made)
    assert (len(record.compiled), record.failed) == (3, [])
    assert [each.front_end_seconds for each in record.compiled] == [None] * 3
    each_starts_and_ends_once(build, *made)
    report = record.sharing()
    assert (report.compared, sorted(each.kernel.key for each in report.not_shared)) == ((), sorted(k.key for k in made))
    assert {each.reason for each in report.not_shared} == {reason}


def test_a_compiler_that_fails_only_alone(build: Build, tmp_path: Path) -> None:
    """Short of memory, perhaps: no cubin is used that could not be compared, one sample after the other fails."""
    made = kernels(tmp_path, 8, 16, 24)
    build.nvcc = compiler_that_fails_alone(tmp_path / "nvcc", build.nvcc)
    record = build.run(*made)
    assert (record.compiled, {each.kernel for each in record.failed}) == ([], set(made))
    assert {each.output for each in record.failed} == {"nvcc error   : 'cicc' died due to signal 9 (Kill signal)"}
    report = record.sharing()
    # Sizes of groups depend on what compilers have taken so far: one front end for all three, or two.
    assert (report.front_ends != (), report.compared, report.not_shared) == (True, (), ())


@pytest.mark.slow
def test_a_kernel_that_another_builder_compiles_is_left_to_it(build: Build, tmp_path: Path) -> None:
    """The others of its group go on without it; it is found when the other one has published it."""
    *ours, theirs = kernels(tmp_path, 8, 16, 24)
    made = Nvcc(build.nvcc).compile(theirs, tmp_path / "scratch")

    with Claims(build.store.directory / "claims") as claims:

        class OtherBuilder:
            @hookimpl
            def kregistry_front_end_finished(self) -> None:
                build.store.put(theirs, made.cubin, "nvcc", 1.0)
                claims.release(theirs.key)

        assert claims.acquire(theirs.key)
        build.listeners.append(OtherBuilder())
        record = build.run(*ours, theirs)
    assert {each.kernel for each in record.compiled} == set(ours)
    shared = [kernel for run in record.sharing().front_ends for kernel in run.kernels]
    assert (len(shared), set(shared)) == (2, set(ours))
    assert (record.found, build.heard("kregistry_kernel_found")) == (1, [{"kernel": theirs}])
    assert cubin(build, theirs) == made.cubin


def test_a_kernel_that_the_store_has_when_its_turn_comes(build: Build, tmp_path: Path) -> None:
    """Headers were parsed for it and another one, which goes on without it."""
    ours, theirs = kernels(tmp_path, 8, 16)
    made = Nvcc(build.nvcc).compile(theirs, tmp_path / "scratch")
    registry = Registry(load_entry_points=False)
    with Pipeline(registry.events, build.store, build.jit_cache, build.nvcc, jobs=2) as pipeline:
        pipeline.add(ours)
        pipeline.add(theirs)
        build.store.put(theirs, made.cubin, "nvcc", 1.0)
        pipeline.finish()
    record = pipeline.record
    assert ([each.kernel for each in record.compiled], record.found) == ([ours], 1)
    assert [run.kernels for run in record.sharing().front_ends] == [(ours,)]


def test_leaving_early_says_nothing_against_the_kernels(build: Build, tmp_path: Path) -> None:
    """Parsing is cut off: no verdict on a kernel, no reason not to share, nothing left behind."""
    started = tmp_path / "started"
    slow = tmp_path / "nvcc"
    slow.write_text(
        f'#!/bin/sh\ncase "$1" in --version | --dryrun) exec {build.nvcc} "$@" ;; esac\ntouch {started}\nsleep 600\n'
    )
    slow.chmod(0o755)
    registry = Registry(load_entry_points=False)
    registry.listen(build.log)
    with (
        pytest.raises(KeyboardInterrupt),
        Pipeline(registry.events, build.store, build.jit_cache, slow, jobs=1) as pipeline,
    ):
        for kernel in kernels(tmp_path, 8, 16):
            pipeline.add(kernel)
        while not started.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt
    registry.events.flush()
    assert build.log.names() == []
    assert (pipeline.record.failed, pipeline.record.sharing()) == ([], SharingReport())
    for name in ("claims", "tmp"):
        assert list((build.store.directory / name).iterdir()) == []
