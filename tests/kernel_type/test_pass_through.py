"""Only functions that pass exactly their parameters on are taken apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from on_stub import answer

from kregistry.kernel_type.pass_through import passed_on_to


def passes(a: Any, b: Any = 1) -> None:
    math.hypot(a, b)


def returns(a: Any, b: Any = 1) -> Any:
    return math.hypot(a, b)


def swaps(a: Any, b: Any = 1) -> None:
    math.hypot(b, a)


def drops(a: Any, b: Any = 1) -> None:
    math.hypot(a)


def adds(a: Any, b: Any = 1) -> None:
    math.hypot(a, b, 3)


def changes(a: Any, b: Any = 1) -> None:
    math.hypot(a, -b)


def calls_two(a: Any, b: Any = 1) -> None:
    math.hypot(math.sin(a), b)


def takes_any(*args: Any) -> None:
    math.hypot(*args)


@pytest.mark.parametrize("function", [passes, returns])
def test_taken(function: Any) -> None:
    assert passed_on_to(function) is math.hypot


@pytest.mark.parametrize("function", [swaps, drops, adds, changes, calls_two, takes_any, math.hypot])
def test_left(function: Any) -> None:
    assert passed_on_to(function) is function


def test_of_deep_gemm(tmp_path: Path) -> None:
    got = answer(
        """
        from kregistry.kernel_type.pass_through import passed_on_to
        answer(
            hc=passed_on_to(deep_gemm.tf32_hc_prenorm_gemm) is not deep_gemm.tf32_hc_prenorm_gemm,
            fp8=passed_on_to(deep_gemm.fp8_gemm_nt) is deep_gemm.fp8_gemm_nt,
        )
        """,
        tmp_path,
    )
    assert got == {"hc": True, "fp8": True}
