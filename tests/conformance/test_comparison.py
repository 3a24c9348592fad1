"""Comparison of results: as a whole, and by row, column and tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kregistry.conformance.comparison import difference, disagreement

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")


@pytest.fixture
def right() -> torch.Tensor:
    return torch.randn(130, 200, generator=torch.Generator().manual_seed(0))


def test_equal_tensors_agree(right: torch.Tensor) -> None:
    assert disagreement(right, right, 1e-12) is None
    assert disagreement(right[:0], right[:0], 1e-12) is None
    assert disagreement(right.bfloat16(), right, 1e-3) is None


@pytest.mark.parametrize(
    ("part", "index"),
    [
        ("row 7", (slice(7, 8), slice(None))),
        ("column 9", (slice(None), slice(9, 10))),
        ("row 64", (slice(64, 128), slice(128, 200))),
    ],
)
def test_a_part_that_is_wrong_is_named_though_the_whole_agrees(
    right: torch.Tensor, part: str, index: tuple[slice, slice]
) -> None:
    wrong = right.clone()
    wrong[index] *= 0.2
    tolerance = 1.1 * difference(wrong, right)
    found = disagreement(wrong, right, min(tolerance, 0.01))
    assert found is not None
    if difference(wrong, right) <= 0.01:
        assert found.part == part


def test_a_part_that_is_almost_zero_is_not_judged_by_its_rounding(right: torch.Tensor) -> None:
    small = right.clone()
    small[3] *= 1e-6
    rounded = small.clone()
    rounded[3] = 0
    assert disagreement(rounded, small, 1e-5) is None


def test_nan_is_a_disagreement(right: torch.Tensor) -> None:
    wrong = right.clone()
    wrong[0, 0] = torch.nan
    assert disagreement(wrong, right, 1.0) is not None


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_results_that_are_too_large_or_too_small_as_a_whole_are_found(right: torch.Tensor, factor: float) -> None:
    assert difference(right * factor, right) < 1e-3
    found = disagreement(right * factor, right, 1e-3)
    assert found is not None
    assert found.part == "the size of all results together"
    assert disagreement(right * 1.004, right, 1e-3) is None


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_noise_alone_makes_no_result_too_large(right: torch.Tensor, rows: int) -> None:
    for seed in range(20):
        noise = torch.randn(right[:rows].shape, generator=torch.Generator().manual_seed(seed))
        found = disagreement(right[:rows] * (1 + 0.03 * noise), right[:rows], 1e-3)
        assert found is None or found.part != "the size of all results together"


def test_errors_of_what_is_rounded_between_two_steps_go_together() -> None:
    """Nearly all of what a row is made of is one number, which was rounded to FP8."""
    weights = torch.randn(256, 512, generator=torch.Generator().manual_seed(0))
    hidden = torch.full((1, 256), 0.01)
    hidden[0, 0] = 1.0
    rounded = hidden.clone()
    rounded[0, 0] = 1.03
    assert disagreement(rounded @ weights, hidden @ weights, 3e-3) is None
    rows = torch.randn(4096, 1, generator=torch.Generator().manual_seed(1))
    assert disagreement(1.03 * rows @ weights[:1], rows @ weights[:1], 3e-3) is not None
