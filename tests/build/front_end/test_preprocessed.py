"""Preprocessed headers: once for a family, for kernels of any number and sources at any place."""

from __future__ import annotations

from pathlib import Path

import pytest
from families import HEADER, family_kernel

from kregistry.build.front_end.family import Member, member_of
from kregistry.build.front_end.not_understood import NotUnderstood
from kregistry.build.front_end.preprocessed import Preprocessed


class Preprocessor:
    """Puts the name of the source before what is there, as line markers do, and counts its runs."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.runs = 0

    def __call__(self) -> str:
        self.runs += 1
        return f'# 1 "{self.source}"\n{self.source.read_text()}'


def members(tmp_path: Path) -> list[Member]:
    return [member_of(family_kernel(tmp_path, n)) for n in (1, 2, 3)]


def test_headers_are_preprocessed_once(tmp_path: Path) -> None:
    one, two, three = members(tmp_path)
    headers = Preprocessed()
    first, second = Preprocessor(tmp_path / "a.cu"), Preprocessor(tmp_path / "b.cu")
    headers.text(one.family, [one.reference], first.source, first)
    text = headers.text(one.family, [two.reference, three.reference], second.source, second)
    assert (first.runs, second.runs) == (1, 0)
    assert text.startswith(f'# 1 "{tmp_path / "b.cu"}"\n#include <gemm.cuh>')
    assert f"(const void*)({two.reference}),\n(const void*)({three.reference})\n}};" in text
    assert "kregistry_kernels" not in text and "a.cu" not in text


def test_another_family_has_other_headers(tmp_path: Path) -> None:
    one = members(tmp_path)[0]
    other = member_of(family_kernel(tmp_path, 1, flags=("-cubin", "-arch=sm_90a", "-O2", "-std=c++17"), header=HEADER))
    headers, preprocessor = Preprocessed(), Preprocessor(tmp_path / "a.cu")
    for member in (one, other):
        headers.text(member.family, [member.reference], preprocessor.source, preprocessor)
    assert preprocessor.runs == 2


def test_output_without_a_place_for_the_kernels_is_not_understood(tmp_path: Path) -> None:
    one = members(tmp_path)[0]
    with pytest.raises(NotUnderstood, match="the preprocessor left 0 places for the kernels"):
        Preprocessed().text(one.family, [one.reference], tmp_path / "a.cu", lambda: "int x;")
