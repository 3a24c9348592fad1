"""The self-check, step by step: who is compared, whose cubin is used when, what a difference and a failure lead to."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from families import FLAGS, family_job

from kregistry.compile.nvcc import Compilation
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.self_check import CompileAlone, SelfCheck, Use
from kregistry.compile.shared.self_check_results import KnownResult, SelfCheckResults, Source
from kregistry.store.cubin import sections_of
from kregistry.toolchain import Toolchain

FAILED = Compilation(b"", 1.0, "nvcc kernel.cu", "kernel.cu(3): error: too large")


@pytest.fixture
def results(toolchain: Toolchain, tmp_path: Path) -> SelfCheckResults:
    return SelfCheckResults(tmp_path / "front_ends", toolchain.cuda.nvcc)


@pytest.fixture
def told() -> list[tuple[str, str]]:
    """Keys of kernels that were compared, and what differs."""
    return []


@pytest.fixture
def check(results: SelfCheckResults, told: list[tuple[str, str]]) -> SelfCheck:
    return SelfCheck(results, False, lambda kernel, found: told.append((kernel.key, found)))


@pytest.fixture
def jobs(tmp_path: Path) -> list[FamilyJob]:
    """Four kernels of one family."""
    return [family_job(tmp_path, n) for n in (8, 16, 24, 32)]


@pytest.fixture
def alone(cubin: bytes) -> Compilation:
    """What nvcc makes alone: the cubins of these tests are all one, only whether two are the same counts."""
    return Compilation(cubin, 2.0, "nvcc kernel.cu")


@pytest.fixture
def shared(alone: Compilation) -> Compilation:
    return evolve(alone, command="ptxas kernel.ptx", front_end_seconds=0.5)


@pytest.fixture
def odd(shared: Compilation) -> Compilation:
    """Another kernel: one bit of code differs."""
    (code,) = [section for section in sections_of(shared.cubin) if section.name.startswith(".text.")]
    changed = bytearray(shared.cubin)
    changed[shared.cubin.index(code.content)] ^= 1
    return evolve(shared, cubin=bytes(changed))


def test_the_first_that_is_offered_is_the_one_sample_of_its_family(
    check: SelfCheck, jobs: list[FamilyJob], tmp_path: Path
) -> None:
    """The caller offers the cheapest first."""
    other = family_job(tmp_path, 8, flags=(*FLAGS, "-DOTHER"))
    assert check.choose([jobs[2], jobs[0], other]) == [jobs[2], other]
    assert check.choose([jobs[1], jobs[3]]) == []


def test_cubins_are_kept_back_until_the_sample_is_found_the_same(
    check: SelfCheck,
    jobs: list[FamilyJob],
    alone: Compilation,
    shared: Compilation,
    results: SelfCheckResults,
    told: list[tuple[str, str]],
) -> None:
    sample, second, third, late = jobs
    assert check.choose(jobs) == [sample]
    assert check.shared(second, shared) == []
    assert check.shared(sample, shared) == []
    assert check.shared(third, shared) == []
    assert (told, results.recall(sample.member.family)) == ([], None)
    assert check.alone(sample, alone) == [Use(sample, alone), Use(second, shared), Use(third, shared)]
    assert told == [(sample.kernel.key, "")]
    assert (results.recall(sample.member.family), check.reason_not_shareable(sample.member.family)) == (
        KnownResult("", Source.STORE),
        "",
    )
    assert check.choose([late]) == []
    assert check.shared(late, shared) == [Use(late, shared)]


def test_a_difference_sends_all_to_nvcc(
    check: SelfCheck,
    jobs: list[FamilyJob],
    alone: Compilation,
    odd: Compilation,
    results: SelfCheckResults,
    told: list[tuple[str, str]],
) -> None:
    """Those kept back, those still to come, and those of later builds with this store; nvcc's own cubin is used."""
    sample, second, third, late = jobs
    check.choose(jobs)
    assert check.shared(second, odd) == check.alone(sample, alone) == []
    actions = check.shared(sample, odd)
    ((key, found),) = told
    assert (key, found.split()[:3]) == (sample.kernel.key, ["the", "content", "of"])
    reason = f"a shared front end made another kernel than nvcc alone: {found}"
    assert actions == [Use(sample, alone), CompileAlone(second, reason)]
    assert check.shared(third, odd) == [CompileAlone(third, reason)]
    assert check.alone(second, alone) == [Use(second, alone)]
    assert check.choose([late]) == []
    later = SelfCheck(results, False, lambda kernel, found: None)
    assert [each.reason_not_shareable(sample.member.family) for each in (check, later)] == [reason, reason]


def test_what_an_earlier_build_found_the_same_is_not_compared_again(
    check: SelfCheck, jobs: list[FamilyJob], shared: Compilation, results: SelfCheckResults, told: list[tuple[str, str]]
) -> None:
    results.remember(jobs[0].member.family, jobs[0].kernel, "")
    assert check.choose(jobs) == []
    assert check.shared(jobs[0], shared) == [Use(jobs[0], shared)]
    assert told == []


def test_a_paranoid_check_uses_only_what_it_has_compared(
    results: SelfCheckResults, jobs: list[FamilyJob], alone: Compilation, shared: Compilation, odd: Compilation
) -> None:
    """Also where an earlier build found the family the same; a later difference counts."""
    first, second, _, _ = jobs
    results.remember(first.member.family, first.kernel, "")
    told = []
    check = SelfCheck(results, True, lambda kernel, found: told.append((kernel.key, bool(found))))
    assert check.choose(jobs) == jobs
    assert check.shared(first, shared) == check.alone(second, alone) == []
    assert check.alone(first, alone) == [Use(first, alone)]
    assert check.reason_not_shareable(first.member.family) == ""
    assert check.shared(second, odd) == [Use(second, alone)]
    assert told == [(first.kernel.key, False), (second.kernel.key, True)]
    known = results.recall(first.member.family)
    assert known and known.difference and check.reason_not_shareable(first.member.family)


def test_nothing_shared_of_an_ordinary_kernel(check: SelfCheck, jobs: list[FamilyJob], shared: Compilation) -> None:
    """It is compiled alone, for its own reason; the sample stays the sample."""
    check.choose(jobs)
    assert check.shared(jobs[1], shared) == []
    assert check.nothing_shared(jobs[2], "uses counter") == [CompileAlone(jobs[2], "uses counter")]


def test_nothing_shared_before_anything_was_chosen(check: SelfCheck, jobs: list[FamilyJob], alone: Compilation) -> None:
    """A whole front end that fails: each is compiled alone, and nothing is said of the family."""
    for job in jobs:
        assert check.nothing_shared(job, "the front end failed") == [CompileAlone(job, "the front end failed")]
        assert check.alone(job, alone) == [Use(job, alone)]
    assert check.reason_not_shareable(jobs[0].member.family) == ""
    assert check.choose(jobs) == [jobs[0]]


@pytest.mark.parametrize("ended", [False, True], ids=["before it was compiled alone", "afterwards"])
def test_nothing_shared_of_the_sample_makes_another_the_sample(
    check: SelfCheck, jobs: list[FamilyJob], alone: Compilation, shared: Compilation, ended: bool
) -> None:
    sample, second, third, _ = jobs
    check.choose(jobs)
    check.shared(second, shared)
    check.shared(third, shared)
    if ended:
        assert check.alone(sample, alone) == []
    ready = [Use(sample, alone)] if ended else []
    reason = "the assembler failed"
    assert check.nothing_shared(sample, reason) == [*ready, CompileAlone(sample, reason), CompileAlone(third, "")]
    if not ended:
        assert check.alone(sample, alone) == [Use(sample, alone)]
    assert check.alone(third, alone) == [Use(third, alone), Use(second, shared)]


def test_a_sample_that_does_not_compile_is_replaced(
    check: SelfCheck, jobs: list[FamilyJob], alone: Compilation, shared: Compilation
) -> None:
    """By one that is kept back, else by the next cubin that comes."""
    sample, second, third, _ = jobs
    check.choose(jobs)
    check.shared(second, shared)
    assert check.alone(sample, FAILED) == [Use(sample, FAILED), CompileAlone(second, "")]
    assert check.alone(second, FAILED) == [Use(second, FAILED)]
    assert check.shared(third, shared) == [CompileAlone(third, "")]
    assert check.alone(third, alone) == [Use(third, alone)]
    assert check.reason_not_shareable(sample.member.family) == ""


def test_a_sample_that_did_not_compile_is_done(
    check: SelfCheck, jobs: list[FamilyJob], alone: Compilation, shared: Compilation
) -> None:
    """Its shared cubin comes too late: it cannot be the sample again, since nothing more will be heard of it."""
    sample, second, _, _ = jobs
    check.choose(jobs)
    assert check.alone(sample, FAILED) == [Use(sample, FAILED)]
    assert check.shared(sample, shared) == []
    assert check.shared(second, shared) == [CompileAlone(second, "")]
    assert check.alone(second, alone) == [Use(second, alone)]


def test_a_sample_that_did_not_compile_is_not_chosen_again(
    check: SelfCheck, jobs: list[FamilyJob], alone: Compilation, shared: Compilation
) -> None:
    """Its front end was running when nvcc alone failed: what it makes is offered once more."""
    sample, second, _, _ = jobs
    assert check.choose([sample]) == [sample]
    assert check.alone(sample, FAILED) == [Use(sample, FAILED)]
    assert check.choose([sample]) == []
    assert check.choose([sample, second]) == [second]
    assert check.shared(sample, shared) == check.shared(second, shared) == []
    assert check.alone(second, alone) == [Use(second, alone)]
