"""The self-check, step by step: who is compared, whose cubin is used when, what a difference and a failure lead to."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from families import FLAGS, family_kernel

from kregistry.compile.nvcc import Compilation
from kregistry.compile.shared.kernel_family import Member, member_of
from kregistry.compile.shared.self_check import CompileAlone, SelfCheck, Use
from kregistry.compile.shared.self_check_results import SelfCheckResults
from kregistry.store.cubin import sections_of
from kregistry.toolchain import Toolchain

FAILED = Compilation(b"", 1.0, "nvcc kernel.cu", "kernel.cu(3): error: too large")


@pytest.fixture
def memory(toolchain: Toolchain, tmp_path: Path) -> SelfCheckResults:
    return SelfCheckResults(tmp_path / "front_ends", toolchain.cuda.nvcc)


@pytest.fixture
def told() -> list[tuple[str, str]]:
    """Keys of kernels that were compared, and what differs."""
    return []


@pytest.fixture
def check(memory: SelfCheckResults, told: list[tuple[str, str]]) -> SelfCheck:
    return SelfCheck(memory, False, lambda kernel, found: told.append((kernel.key, found)))


@pytest.fixture
def members(tmp_path: Path) -> list[Member]:
    """Four kernels of one family."""
    return [member_of(family_kernel(tmp_path, n)) for n in (8, 16, 24, 32)]


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
    check: SelfCheck, members: list[Member], tmp_path: Path
) -> None:
    """The caller offers the cheapest first."""
    other = member_of(family_kernel(tmp_path, 8, flags=(*FLAGS, "-DOTHER")))
    assert check.choose([members[2], members[0], other]) == [members[2], other]
    assert check.choose([members[1], members[3]]) == []


def test_cubins_are_kept_back_until_the_sample_is_found_the_same(
    check: SelfCheck,
    members: list[Member],
    alone: Compilation,
    shared: Compilation,
    memory: SelfCheckResults,
    told: list[tuple[str, str]],
) -> None:
    sample, second, third, late = members
    assert check.choose(members) == [sample]
    assert check.shared(second, shared) == []
    assert check.shared(sample, shared) == []
    assert check.shared(third, shared) == []
    assert (told, memory.recall(sample.family)) == ([], None)
    assert check.alone(sample, alone) == [Use(sample, alone), Use(second, shared), Use(third, shared)]
    assert told == [(sample.kernel.key, "")]
    assert (memory.recall(sample.family), check.reason_not_shareable(sample.family)) == ("", "")
    assert check.choose([late]) == []
    assert check.shared(late, shared) == [Use(late, shared)]


def test_a_difference_sends_all_to_nvcc(
    check: SelfCheck,
    members: list[Member],
    alone: Compilation,
    odd: Compilation,
    memory: SelfCheckResults,
    told: list[tuple[str, str]],
) -> None:
    """Those kept back, those still to come, and those of later builds with this store; nvcc's own cubin is used."""
    sample, second, third, late = members
    check.choose(members)
    assert check.shared(second, odd) == check.alone(sample, alone) == []
    actions = check.shared(sample, odd)
    ((key, found),) = told
    assert (key, found.split()[:3]) == (sample.kernel.key, ["the", "content", "of"])
    reason = f"a shared front end made another kernel than nvcc alone: {found}"
    assert actions == [Use(sample, alone), CompileAlone(second, reason)]
    assert check.shared(third, odd) == [CompileAlone(third, reason)]
    assert check.alone(second, alone) == [Use(second, alone)]
    assert check.choose([late]) == []
    later = SelfCheck(memory, False, lambda kernel, found: None)
    assert check.reason_not_shareable(sample.family) == later.reason_not_shareable(sample.family) == reason


def test_what_an_earlier_build_found_the_same_is_not_compared_again(
    check: SelfCheck, members: list[Member], shared: Compilation, memory: SelfCheckResults, told: list[tuple[str, str]]
) -> None:
    memory.remember(members[0].family, members[0].kernel, "")
    assert check.choose(members) == []
    assert check.shared(members[0], shared) == [Use(members[0], shared)]
    assert told == []


def test_a_paranoid_check_uses_only_what_it_has_compared(
    memory: SelfCheckResults, members: list[Member], alone: Compilation, shared: Compilation, odd: Compilation
) -> None:
    """Also where an earlier build found the family the same; a later difference counts."""
    first, second, _, _ = members
    memory.remember(first.family, first.kernel, "")
    told = []
    check = SelfCheck(memory, True, lambda kernel, found: told.append((kernel.key, bool(found))))
    assert check.choose(members) == members
    assert check.shared(first, shared) == check.alone(second, alone) == []
    assert check.alone(first, alone) == [Use(first, alone)]
    assert check.reason_not_shareable(first.family) == ""
    assert check.shared(second, odd) == [Use(second, alone)]
    assert told == [(first.kernel.key, False), (second.kernel.key, True)]
    assert memory.recall(first.family) != "" and check.reason_not_shareable(first.family)


def test_nothing_shared_of_an_ordinary_kernel(check: SelfCheck, members: list[Member], shared: Compilation) -> None:
    """It is compiled alone, for its own reason; the sample stays the sample."""
    check.choose(members)
    assert check.shared(members[1], shared) == []
    assert check.nothing_shared(members[2], "uses counter") == [CompileAlone(members[2], "uses counter")]


def test_nothing_shared_before_anything_was_chosen(check: SelfCheck, members: list[Member], alone: Compilation) -> None:
    """A whole front end that fails: each is compiled alone, and nothing is said of the family."""
    for member in members:
        assert check.nothing_shared(member, "the front end failed") == [CompileAlone(member, "the front end failed")]
        assert check.alone(member, alone) == [Use(member, alone)]
    assert check.reason_not_shareable(members[0].family) == ""
    assert check.choose(members) == [members[0]]


@pytest.mark.parametrize("ended", [False, True], ids=["before it was compiled alone", "afterwards"])
def test_nothing_shared_of_the_sample_makes_another_the_sample(
    check: SelfCheck, members: list[Member], alone: Compilation, shared: Compilation, ended: bool
) -> None:
    sample, second, third, _ = members
    check.choose(members)
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
    check: SelfCheck, members: list[Member], alone: Compilation, shared: Compilation
) -> None:
    """By one that is kept back, else by the next cubin that comes."""
    sample, second, third, _ = members
    check.choose(members)
    check.shared(second, shared)
    assert check.alone(sample, FAILED) == [Use(sample, FAILED), CompileAlone(second, "")]
    assert check.alone(second, FAILED) == [Use(second, FAILED)]
    assert check.shared(third, shared) == [CompileAlone(third, "")]
    assert check.alone(third, alone) == [Use(third, alone)]
    assert check.reason_not_shareable(sample.family) == ""


def test_a_sample_that_did_not_compile_is_done(
    check: SelfCheck, members: list[Member], alone: Compilation, shared: Compilation
) -> None:
    """Its shared cubin comes too late: it cannot be the sample again, since nothing more will be heard of it."""
    sample, second, _, _ = members
    check.choose(members)
    assert check.alone(sample, FAILED) == [Use(sample, FAILED)]
    assert check.shared(sample, shared) == []
    assert check.shared(second, shared) == [CompileAlone(second, "")]
    assert check.alone(second, alone) == [Use(second, alone)]
