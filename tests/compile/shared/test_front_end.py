"""A shared front end and the assembler after it, with the real compiler: pieces by kernel, and every way to fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from families import family_kernel, source_of

from kregistry.compile.nvcc import Nvcc
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.front_end import FrontEndResult, assemble, run_front_end
from kregistry.compile.shared.headers import parse_headers
from kregistry.compile.shared.kernel_family import Member, member_of
from kregistry.store.cubin import single_kernel
from kregistry.toolchain import Toolchain


@pytest.fixture
def nvcc(toolchain: Toolchain) -> Nvcc:
    return Nvcc(toolchain.cuda.nvcc)


def members(include: Path, *numbers: int) -> list[Member]:
    include.mkdir(exist_ok=True)
    return [member_of(family_kernel(include, n)) for n in numbers]


def run(nvcc: Nvcc, made: list[Member], tmp_path: Path) -> FrontEndResult:
    headers = parse_headers(nvcc, made[0].family, tmp_path / "scratch")
    try:
        return run_front_end(headers, made, tmp_path / "scratch")
    finally:
        headers.close()
        assert not (tmp_path / "scratch").exists()


@pytest.mark.nvcc
def test_each_kernel_gets_its_own_piece(nvcc: Nvcc, tmp_path: Path) -> None:
    """In whatever order the compiler writes them."""
    made = members(tmp_path / "include", 24, 8, 16)
    result = run(nvcc, made, tmp_path)
    assert result.refused == {}
    symbols = [result.pieces[member.kernel.key].symbol for member in made]
    assert symbols == [f"_ZN5gemms4gemmILi{n}EEEvPi" for n in (24, 8, 16)]
    assert sum(piece.seconds for piece in result.pieces.values()) == pytest.approx(result.seconds)
    for piece in result.pieces.values():
        done = assemble(nvcc, piece, tmp_path / "scratch")
        assert (done.failure, single_kernel(done.cubin)) == ("", piece.symbol)
        assert "ptxas" in done.command and done.front_end_seconds is None
        assert not (tmp_path / "scratch").exists()


def test_two_spellings_of_one_kernel(nvcc: Nvcc, tmp_path: Path) -> None:
    """Two kernels for DeepGEMM, since their sources differ; one for the compiler."""
    first, second = members(tmp_path / "include", 8, 16)
    again = member_of(evolve(first.kernel, key="again", source=source_of("&gemm<2 * 4>")))
    pieces = run(nvcc, [first, second, again], tmp_path).pieces
    assert pieces[first.kernel.key].text == pieces["again"].text != pieces[second.kernel.key].text


def test_a_kernel_that_does_not_compile_fails_the_front_end(nvcc: Nvcc, tmp_path: Path) -> None:
    with pytest.raises(CannotShare, match=r"^the shared front end failed: .*static assertion failed .*too large"):
        run(nvcc, members(tmp_path / "include", 8, 2000), tmp_path)


@pytest.mark.nvcc
def test_a_cubin_with_another_kernel_is_a_failure(nvcc: Nvcc, tmp_path: Path) -> None:
    made = members(tmp_path / "include", 8, 16)
    piece = run(nvcc, made, tmp_path).pieces[made[0].kernel.key]
    done = assemble(nvcc, evolve(piece, symbol="other"), tmp_path / "scratch")
    assert done.failure == f"the cubin holds {piece.symbol} instead of other"


@pytest.mark.nvcc
def test_the_assemblers_words(nvcc: Nvcc, tmp_path: Path) -> None:
    made = members(tmp_path / "include", 8, 16)
    piece = run(nvcc, made, tmp_path).pieces[made[0].kernel.key]
    done = assemble(nvcc, evolve(piece, text=piece.text.replace("ret;", "odd;")), tmp_path / "scratch")
    assert "ptxas" in done.failure and "error" in done.failure
    assert not (tmp_path / "scratch").exists()
