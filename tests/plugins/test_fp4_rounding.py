"""FP4 values between two numbers are rounded as the installed DeepGEMM rounds them."""

from __future__ import annotations

from typing import Any

import pytest

from kregistry_plugins.fp8_gemm import fp4, scales
from tests.plugins.stack import installed_stack

torch = pytest.importorskip("torch")

#: The middles of the magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6.
TIES = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)
TO_EVEN = (0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0)
TO_ZERO = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)


def _row(values: tuple[float, ...]) -> Any:
    """With 6 at the end, so that the scale factor of the row is 1."""
    return torch.tensor([*values, *(-each for each in values), 3.0, 6.0]).unsqueeze(0)


@pytest.mark.parametrize("to_even, wanted", [(True, TO_EVEN), (False, TO_ZERO)])
def test_each_rule_at_every_tie_and_beside_it(to_even: bool, wanted: tuple[float, ...]) -> None:
    assert (fp4.decode(fp4.encode(_row(TIES), to_even)) == _row(wanted)).all()
    above = tuple(each * 1.001 for each in TIES)
    assert (fp4.decode(fp4.encode(_row(above), to_even)) == _row((0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0))).all()
    below = tuple(each * 0.999 for each in TIES)
    assert (fp4.decode(fp4.encode(_row(below), to_even)) == _row((0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0))).all()


def test_tokens_are_quantised_as_the_installed_deep_gemm_does() -> None:
    import deep_gemm

    values = torch.nn.functional.pad(_row(TIES), (0, 16))
    data, factors = torch.empty((1, 16), dtype=torch.int8), torch.empty((1, 1))
    scales.quantize_rows(values, data, factors, 32, powers_of_two=True)
    found = scales.dequantize(data, factors, 32)[:, :16]
    assert (found == _row(TO_EVEN if installed_stack() == "0.2" else TO_ZERO)).all()
    theirs, their_factors = deep_gemm.per_token_cast_to_fp4(values, use_ue8m0=True, gran_k=32)
    assert (fp4.decode(theirs) == fp4.decode(data)).all() and (their_factors == factors).all()
