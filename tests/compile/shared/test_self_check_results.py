"""What a store remembers of self-checks: by compiler and family, and losing it costs only another check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve
from families import FLAGS, family_kernel

from kregistry.compile.shared import self_check_results
from kregistry.compile.shared.kernel_family import Member, member_of
from kregistry.compile.shared.self_check_results import KnownResult, SelfCheckResults, Source, object_name
from kregistry.errors import MissingRequirement
from kregistry.kernel import CompilerCommand


def nvcc(cuda: Path, version: str) -> Path:
    """A compiler that only prints its version."""
    path = cuda / "bin" / "nvcc"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release 13.0, V{version}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def member(tmp_path: Path) -> Member:
    (tmp_path / "include").mkdir()
    return member_of(family_kernel(tmp_path / "include", 8))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store" / "front_ends"


@pytest.fixture
def memory(tmp_path: Path, directory: Path) -> SelfCheckResults:
    return SelfCheckResults(directory, nvcc(tmp_path / "cuda", "13.0.88"))


@pytest.mark.parametrize("difference", ["", "the content of .text"])
def test_what_was_found_is_recalled(memory: SelfCheckResults, member: Member, directory: Path, difference: str) -> None:
    assert memory.recall(member.family) is None
    assert not directory.exists()
    memory.remember(member.family, member.kernel, difference)
    assert memory.recall(member.family) == KnownResult(difference, Source.STORE)
    (path,) = directory.iterdir()
    expected = {"key": path.stem, "family": "gemm.cuh", "kernel": member.kernel.id, "difference": difference}
    record = json.loads(path.read_text())
    assert record == {**expected, "digest": record["digest"]}


def test_a_compiler_at_another_place_is_the_same(directory: Path, tmp_path: Path) -> None:
    """Its own headers lie beside it, and count by their content."""
    kernel = family_kernel(tmp_path, 8)
    for place in ("one", "other"):
        memory = SelfCheckResults(directory, nvcc(tmp_path / place, "13.0.88"))
        headers = tmp_path / place / "include"
        headers.mkdir()
        (headers / "cuda.h").write_text("// the same\n")
        family = member_of(evolve(kernel, command=CompilerCommand(FLAGS, (headers,)))).family
        if place == "one":
            memory.remember(family, kernel, "symbols")
        assert memory.recall(family) == KnownResult("symbols", Source.STORE)


def test_the_last_word_counts(memory: SelfCheckResults, member: Member) -> None:
    memory.remember(member.family, member.kernel, "")
    memory.remember(member.family, member.kernel, "symbols")
    assert memory.recall(member.family) == KnownResult("symbols", Source.STORE)


def test_another_compiler_or_family_is_not_known(
    memory: SelfCheckResults, member: Member, directory: Path, tmp_path: Path
) -> None:
    memory.remember(member.family, member.kernel, "")
    assert SelfCheckResults(directory, nvcc(tmp_path / "newer", "13.1.0")).recall(member.family) is None
    other = member_of(family_kernel(tmp_path / "include", 8, flags=(*FLAGS, "-DOTHER")))
    assert memory.recall(other.family) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"text"', b"null", b"{}", b'{"difference": null}', b'{"difference": 3}', b"\xff\xfe"]
)
def test_a_damaged_file_is_another_check(
    memory: SelfCheckResults, member: Member, directory: Path, content: bytes
) -> None:
    memory.remember(member.family, member.kernel, "symbols")
    (path,) = directory.iterdir()
    path.write_bytes(content)
    assert memory.recall(member.family) is None
    memory.remember(member.family, member.kernel, "")
    assert memory.recall(member.family) == KnownResult("", Source.STORE)


def test_a_store_that_cannot_be_written_is_no_reason_to_fail(member: Member, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    memory = SelfCheckResults(tmp_path / "file" / "front_ends", nvcc(tmp_path / "cuda", "13.0.88"))
    memory.remember(member.family, member.kernel, "")
    assert memory.recall(member.family) is None


def test_a_compiler_that_does_not_tell_its_version(member: Member, directory: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingRequirement, match="nvcc does not run"):
        SelfCheckResults(directory, tmp_path / "bin" / "nvcc").recall(member.family)


def test_a_result_that_ships_with_the_package_is_known(
    memory: SelfCheckResults, member: Member, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only by its digest, which covers the method: a result of this store comes first."""
    memory.remember(member.family, member.kernel, "")
    (path,) = directory.iterdir()
    path.unlink()
    monkeypatch.setattr(self_check_results, "shipped_results", lambda: frozenset([path.stem]))
    assert memory.recall(member.family) is None
    monkeypatch.setenv("KREGISTRY_NO_SHIPPED", "kernels")
    assert memory.recall(member.family) == KnownResult("", Source.PACKAGE)
    memory.remember(member.family, member.kernel, "symbols")
    assert memory.recall(member.family) == KnownResult("symbols", Source.STORE)


def test_another_way_to_share_is_another_check(
    memory: SelfCheckResults, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.remember(member.family, member.kernel, "")
    for name, value in (("_method", lambda: "another"), ("platform", type("Host", (), {"machine": lambda: "riscv64"}))):
        with monkeypatch.context() as patch:
            patch.setattr(self_check_results, name, value)
            assert memory.recall(member.family) is None


def test_remote_tiers_get_and_give_results(member: Member, tmp_path: Path) -> None:
    compiler, remote = nvcc(tmp_path / "cuda", "13.0.88"), dict[str, bytes]()
    first = SelfCheckResults(tmp_path / "one", compiler, remote.get, remote.__setitem__)
    first.remember(member.family, member.kernel, "")
    ((name, content),) = remote.items()
    assert name == object_name(name[-64:])
    second = SelfCheckResults(tmp_path / "two", compiler, remote.get)
    assert second.recall(member.family) == KnownResult("", Source.REMOTE)
    other = member_of(family_kernel(tmp_path / "include", 8, flags=(*FLAGS, "-DOTHER")))
    assert second.recall(other.family) is None
    for wrong in (b"", b"{}", content.replace(b"gemm.cuh", b"else.cuh")):
        remote[name] = wrong
        assert second.recall(member.family) is None


def test_shipped_results_are_digests() -> None:
    assert all(len(each) == 64 and int(each, 16) >= 0 for each in self_check_results.shipped_results())
