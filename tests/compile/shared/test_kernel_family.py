"""Families: the same includes and the same command; the digest knows contents and no path."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from families import FLAGS, HEADER, family_kernel

from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.kernel_family import KernelFamily, member_of
from kregistry.deep_gemm.compiler import Compiler
from kregistry.kernel import CompilerCommand, Kernel


def compiler(cuda: Path, version: str = "13.0.88") -> Compiler:
    return Compiler(cuda / "bin" / "nvcc", version, "test", includes=((cuda / "include").resolve(),))


def family(include: Path, *, header: str = HEADER, flags: tuple[str, ...] = FLAGS, version: str = "13.0.88") -> str:
    """The digest of a family whose header lies in a directory of its own."""
    include.mkdir()
    return member_of(family_kernel(include, 8, header=header, flags=flags)).family.digest(
        compiler(Path("/cuda"), version)
    )


def test_kernels_of_one_family(tmp_path: Path) -> None:
    one, other = (member_of(family_kernel(tmp_path, n)) for n in (8, 16))
    assert one.family == other.family
    assert [each.reference.split() for each in (one, other)] == [["&gemm<", "8", ">"], ["&gemm<", "16", ">"]]
    assert str(one.family) == "gemm.cuh"


def test_other_flags_includes_and_sources_are_other_families(tmp_path: Path) -> None:
    kernel = family_kernel(tmp_path, 8)
    families = {
        member_of(each).family
        for each in (
            kernel,
            family_kernel(tmp_path, 8, flags=(*FLAGS, "-DOTHER")),
            family_kernel(tmp_path, 8, flags=tuple(reversed(FLAGS))),
            evolve(kernel, source=kernel.source.replace("gemm.cuh", "other.cuh")),
            evolve(kernel, command=CompilerCommand(FLAGS, (tmp_path, tmp_path))),
        )
    }
    assert len(families) == 5


def test_the_digest_is_the_same_wherever_the_headers_lie(tmp_path: Path) -> None:
    assert family(tmp_path / "one") == family(tmp_path / "other")


def test_the_digest_changes_with_headers_flags_and_compiler(tmp_path: Path) -> None:
    digests = {
        family(tmp_path / "one"),
        family(tmp_path / "header", header=HEADER + "// changed\n"),
        family(tmp_path / "flags", flags=(*FLAGS, "-DOTHER")),
        family(tmp_path / "compiler", version="13.1.0"),
    }
    assert len(digests) == 4


def test_the_headers_of_cuda_count_by_their_content(tmp_path: Path) -> None:
    """A toolkit at another place is the same; another text of a header that is included is not."""
    digests = []
    for home, text in (("cuda", ""), ("opt/cuda", ""), ("changed", "// changed\n")):
        include = tmp_path / home / "include"
        include.mkdir(parents=True)
        (include / "cuda.h").write_text(text)
        (include / "not_included.h").write_text(home)
        family = KernelFamily("#include <cuda.h>\n", CompilerCommand(FLAGS, (include,)))
        digests.append(family.digest(compiler(tmp_path / home)))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("prologue", "name"),
    [
        ("#include <deep_gemm/impls/a.cuh>\n#include <b.cuh>\nusing namespace deep_gemm;\n", "deep_gemm/impls/a.cuh"),
        ('// words\n#include "a.cuh"\n', "a.cuh"),
        ("using namespace deep_gemm;\n", "nothing"),
    ],
)
def test_the_name_of_a_family_is_its_first_include(prologue: str, name: str) -> None:
    assert str(KernelFamily(prologue, CompilerCommand(FLAGS, ()))) == name


def test_a_flag_that_is_not_understood(tmp_path: Path) -> None:
    with pytest.raises(CannotShare) as caught:
        member_of(family_kernel(tmp_path, 8, flags=(*FLAGS, "-G")))
    assert str(caught.value) == "the flag -G is not known to leave a shared front end's code the same"


def test_a_source_that_is_not_understood(tmp_path: Path) -> None:
    kernel = evolve(family_kernel(tmp_path, 8), source='extern "C" __global__ void kernel() {}\n')
    with pytest.raises(CannotShare) as caught:
        member_of(kernel)
    assert str(caught.value) == "the source has another form than DeepGEMM's: includes and one reference to a kernel"


def test_a_real_kernel_is_a_member(kernel: Kernel) -> None:
    assert str(member_of(kernel).family) == "deep_gemm/impls/sm90_tf32_hc_prenorm_gemm.cuh"
