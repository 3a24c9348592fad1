"""Dimension.check: every kind of declaration, what it takes and how it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kregistry.errors import ShapeError
from kregistry.kernel_type import REQUIRED, Choice, Dimension, Flag, Shape, Size
from kregistry.kernel_type.dimension import show
from kregistry.target import TARGETS


def rule(shape: Shape, m: int) -> int:
    return m


NUMBER = Size("n", "a number")
LARGE = Size("n", "a number", minimum=64)
MULTIPLE = Size("n", "a number", multiple_of=8)
FROM_ZERO = Size("n", "a number", minimum=0, multiple_of=4)
WORD = Choice("n", "a word", ("f32", "ue8m0"))
SOME_NUMBERS = Choice("n", "some numbers", (1, 2, 4))
WORDS_AND_NUMBERS = Choice("n", "either", ("auto", 3))
SWITCH = Flag("n", "a switch")
OPTIONAL = Size("n", "maybe", optional=True)
POLICY = Size("n", "a rule", optional=True, policies={"occupancy": rule})


@pytest.mark.parametrize(
    ("dimension", "value", "canonical"),
    [
        (NUMBER, 1, 1),
        (LARGE, 64, 64),
        (MULTIPLE, 24, 24),
        (FROM_ZERO, 0, 0),
        (WORD, "ue8m0", "ue8m0"),
        (WORDS_AND_NUMBERS, "auto", "auto"),
        (WORDS_AND_NUMBERS, 3, 3),
        (SOME_NUMBERS, 4, 4),
        (SWITCH, True, True),
        (SWITCH, False, False),
        (OPTIONAL, None, None),
        (OPTIONAL, "none", None),
        (OPTIONAL, 7, 7),
        (POLICY, "occupancy", "occupancy"),
        (POLICY, None, None),
        (POLICY, 16, 16),
    ],
)
def test_an_allowed_value_is_made_canonical(dimension: Dimension, value: object, canonical: object) -> None:
    checked = dimension.check("gemm", value)
    assert checked == canonical
    assert type(checked) is type(canonical)


@pytest.mark.parametrize(
    ("dimension", "value", "text", "hint"),
    [
        (NUMBER, 0, "expected an integer >= 1, got 0", ""),
        (NUMBER, -8, "expected an integer >= 1, got -8", ""),
        (NUMBER, True, "expected an integer >= 1, got true", ""),
        (NUMBER, False, "expected an integer >= 1, got false", ""),
        (NUMBER, 1.0, "expected an integer >= 1, got 1.0", ""),
        (NUMBER, "8", "expected an integer >= 1, got '8'", ""),
        (NUMBER, None, "expected an integer >= 1, got null", ""),
        (NUMBER, "none", "expected an integer >= 1, got 'none'", ""),
        (NUMBER, [8], "expected an integer >= 1, got [8]", ""),
        (NUMBER, {"a": 1}, "expected an integer >= 1, got {'a': 1}", ""),
        (LARGE, 63, "expected an integer >= 64, got 63", ""),
        (MULTIPLE, 12, "expected an integer >= 1 and a multiple of 8, got 12", ""),
        (WORD, "ue8m", "expected f32 or ue8m0, got 'ue8m'", "did you mean 'ue8m0'?"),
        (WORD, "zzz", "expected f32 or ue8m0, got 'zzz'", "known values: f32, ue8m0"),
        (WORD, 32, "expected f32 or ue8m0, got 32", ""),
        (WORDS_AND_NUMBERS, "auti", "expected auto or 3, got 'auti'", "did you mean 'auto'?"),
        (WORDS_AND_NUMBERS, None, "expected auto or 3, got null", ""),
        (WORD, True, "expected f32 or ue8m0, got true", ""),
        (SOME_NUMBERS, 2.0, "expected 1 or 2 or 4, got 2.0", ""),
        (SWITCH, None, "expected true or false, got null", ""),
        (SOME_NUMBERS, 3, "expected 1 or 2 or 4, got 3", ""),
        (SOME_NUMBERS, True, "expected 1 or 2 or 4, got true", ""),
        (SWITCH, 1, "expected true or false, got 1", ""),
        (SWITCH, "yes", "expected true or false, got 'yes'", "known values: false, true"),
        (OPTIONAL, 0, "expected an integer >= 1 or none, got 0", ""),
        (
            POLICY,
            "ocupancy",
            "expected an integer >= 1 or none or occupancy, got 'ocupancy'",
            "did you mean 'occupancy'?",
        ),
    ],
)
def test_a_refused_value_is_reported(dimension: Dimension, value: object, text: str, hint: str) -> None:
    with pytest.raises(ShapeError) as caught:
        dimension.check("gemm", value)
    assert caught.value.message == f"gemm.n: {text}"
    assert caught.value.hint == hint


@given(st.integers(-100, 100), st.integers(0, 20), st.integers(1, 9))
def test_a_number_is_allowed_exactly_by_minimum_and_multiple(value: int, minimum: int, multiple_of: int) -> None:
    dimension = Size("n", "a number", minimum=minimum, multiple_of=multiple_of)
    if value >= minimum and value % multiple_of == 0:
        assert dimension.check("gemm", value) == value
    else:
        with pytest.raises(ShapeError):
            dimension.check("gemm", value)


def test_defaults() -> None:
    assert NUMBER.required and NUMBER.default is REQUIRED
    assert not Size("n", "none is a default", default=None).required
    assert Size("n", "fixed", default=3).default_for(TARGETS["h100"]) == 3
    by_target = Size("n", "by target", default=lambda target: target.num_sms)
    assert [by_target.default_for(TARGETS[name]) for name in ("h100", "b200")] == [132, 148]


@pytest.mark.parametrize(("value", "text"), [(None, "null"), (True, "true"), ("x", "'x'"), (3, "3")])
def test_values_are_shown_as_yaml(value: object, text: str) -> None:
    assert show(value) == text


def test_a_number_may_be_too_large_for_one_target() -> None:
    sms = Size("sms", "SMs", maximum=lambda target: target.num_sms)
    assert sms.check("gemm", 140) == 140
    sms.check_for("gemm", 140, TARGETS["b200"])
    with pytest.raises(ShapeError, match=r"gemm\.sms: 140 is more than the 132 of h100"):
        sms.check_for("gemm", 140, TARGETS["h100"])


def test_only_the_three_kinds_are_dimensions() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Dimension()  # type: ignore[abstract]
    assert [kind("n", "a number").affects_kernel for kind in (Size, Flag)] == [True, True]  # type: ignore[operator]


def test_none_may_be_a_word_of_a_choice() -> None:
    """Elsewhere it means "not given" to DeepGEMM."""
    activation = Choice("activation", "what follows", ("none", "relu"), default="none")
    assert activation.check("k", "none") == "none"
    assert Size("clamp", "bound", optional=True).check("k", "none") is None
