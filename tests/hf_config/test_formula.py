from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kregistry.errors import InputError
from kregistry.hf_config.formula import FormulaError, evaluate, names, substitute

NUMBERS = {"H": 128, "A": 8, "KV": 4, "hd": 64}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("H/A * hd", 1024),
        ("H//3 + H%3", 44),
        ("kv_heads(KV, A) * hd", 64),
        ("kv_heads(8, 2)", 4),
        ("max(1, H) - min(A, KV)", 124),
        ("H > 0 and not KV == 4", 0),
        ("H < 0 or KV >= 4", 1),
    ],
)
def test_value(formula: str, value: int) -> None:
    assert evaluate(formula, NUMBERS) == value


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("hd * (H/(A + 1))", "128 cannot be divided by 9"),
        ("kv_heads(3, A)", "3 key-value heads cannot be replicated evenly over 8 ranks"),
        ("kv_heads(12, A)", "12 cannot be divided by 8"),
        ("H/(A - 8)", "a number cannot be divided by 0"),
    ],
)
def test_no_answer(formula: str, text: str) -> None:
    with pytest.raises(FormulaError) as caught:
        evaluate(formula, NUMBERS)
    assert caught.value.text == text


def test_the_part_without_an_answer_is_named() -> None:
    with pytest.raises(FormulaError) as caught:
        evaluate("hd * (H/(A + 1))", NUMBERS)
    assert caught.value.hint == "H / (A + 1)"


@pytest.mark.parametrize("formula", ["H +", "__import__('os')", "H.real", "'x'", "H ** 2", "unknown", "min(H, key=A)"])
def test_refused(formula: str) -> None:
    with pytest.raises(InputError):
        evaluate(formula, NUMBERS)


def test_names_and_substitution() -> None:
    assert names("kv_heads(KV, A) * hd") == {"KV", "A", "hd"}
    assert substitute("kv_heads(KV, A) * hd", NUMBERS) == "kv_heads(4, 8) * 64"


@given(st.integers(1, 4096), st.integers(1, 64))
def test_kv_heads_are_shared_or_replicated(heads: int, ranks: int) -> None:
    """What all ranks hold together is every head the same number of times, and each rank at least one."""
    try:
        share = evaluate("kv_heads(KV, A)", {"KV": heads, "A": ranks})
    except FormulaError:
        assert heads % ranks and ranks % heads
        return
    assert share >= 1
    assert share * ranks % heads == 0
