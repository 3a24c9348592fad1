"""Front ends that are kept: no more than allowed, the one that was used last the longest, none in use closed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from families import family_kernel

from kregistry.compile.nvcc import Nvcc
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.header_pool import HeaderPool
from kregistry.compile.shared.headers import Headers
from kregistry.compile.shared.kernel_family import KernelFamily, member_of
from kregistry.toolchain import Toolchain


@pytest.fixture
def pool(toolchain: Toolchain, tmp_path: Path) -> Iterator[HeaderPool]:
    made = HeaderPool(Nvcc(toolchain.cuda.nvcc), lambda kind: tmp_path / kind, 2)
    yield made
    made.close()


@pytest.fixture
def family(tmp_path: Path) -> Callable[[int], KernelFamily]:
    """Families of one header, which differ in a comment."""
    (tmp_path / "include").mkdir()
    first = member_of(family_kernel(tmp_path / "include", 8)).family
    return lambda number: evolve(first, prologue=f"// {number}\n{first.prologue}")


def kept(pool: HeaderPool, family: KernelFamily) -> Headers | None:
    with pool.use(family) as headers:
        return headers


def test_a_family_that_was_never_parsed(pool: HeaderPool, family: Callable[[int], KernelFamily]) -> None:
    assert kept(pool, family(1)) is None


def test_the_one_that_was_used_last_stays(pool: HeaderPool, family: Callable[[int], KernelFamily]) -> None:
    one, two, three = map(family, (1, 2, 3))
    for each in (one, two, three):
        pool.parse(each)
    assert kept(pool, one) is not None
    gone = pool.shrink(())
    assert list(gone) == [two]
    gone[two].close()
    assert [kept(pool, each) is not None for each in (one, two, three)] == [True, False, True]
    assert pool.shrink(()) == {}


def test_headers_that_are_in_use_or_needed_stay(
    pool: HeaderPool, family: Callable[[int], KernelFamily], tmp_path: Path
) -> None:
    one, two, three = map(family, (1, 2, 3))
    for each in (one, two, three):
        pool.parse(each)
    with pool.use(one) as first:
        assert pool.shrink({two, three}) == {}
        assert first is not None and "gemm" in first.generate(["&gemm<8>"], tmp_path / "scratch")
    gone = pool.shrink({two, three})
    assert list(gone) == [one]
    gone[one].close()


def test_the_end_of_the_pool_is_theirs(pool: HeaderPool, family: Callable[[int], KernelFamily]) -> None:
    pool.parse(family(1))
    headers = kept(pool, family(1))
    assert headers is not None
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.killpg(headers._process.pid, 0)
    assert kept(pool, family(1)) is None


def test_what_cannot_be_parsed_is_not_kept(
    pool: HeaderPool, family: Callable[[int], KernelFamily], tmp_path: Path
) -> None:
    (tmp_path / "include" / "gemm.cuh").unlink()
    with pytest.raises(CannotShare, match=r"gemm\.cuh"):
        pool.parse(family(1))
    assert kept(pool, family(1)) is None
