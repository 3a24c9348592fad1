"""Signature: the arguments of a real call by name, as Python itself would bind them."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kregistry.kernel_type import Signature

GEMM = Signature("a, b, d, c=None, recipe=(1, 128, 128), compiled_dims='nk'")
OPEN = Signature("y, weights, *others, activation='swiglu', **named")


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        ((1, 2, 3), {}, {"a": 1, "b": 2, "d": 3, "c": None, "recipe": (1, 128, 128), "compiled_dims": "nk"}),
        ((1, 2), {"d": 3, "c": 4}, {"a": 1, "b": 2, "d": 3, "c": 4, "recipe": (1, 128, 128), "compiled_dims": "nk"}),
        (
            (1, 2, 3, 4, 5, 6),
            {},
            {"a": 1, "b": 2, "d": 3, "c": 4, "recipe": 5, "compiled_dims": "nk"} | {"compiled_dims": 6},
        ),
    ],
)
def test_arguments_are_named(args: tuple[Any, ...], kwargs: dict[str, Any], found: dict[str, Any]) -> None:
    assert vars(GEMM.bind(args, kwargs)) == found
    assert GEMM.bind(args, kwargs).recipe == found["recipe"]


def test_the_rest_is_kept_where_the_signature_is_open() -> None:
    call = OPEN.bind((1, 2, 3), {"activation": "silu", "fast": True})
    assert (call.y, call.others, call.activation, call.named) == (1, (3,), "silu", {"fast": True})


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1, 2), {}), ((1, 2, 3), {"a": 4}), ((1, 2, 3), {"m": 4}), ((1, 2, 3, 4, 5, 6, 7), {}), ((), {})],
)
def test_a_call_of_another_function_is_a_type_error(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="no call of a function with the parameters"):
        GEMM.bind(args, kwargs)


@given(
    st.lists(st.integers(), max_size=5),
    st.dictionaries(st.sampled_from(["y", "weights", "activation", "x"]), st.integers()),
)
def test_it_binds_as_python_does(args: list[int], kwargs: dict[str, int]) -> None:
    def function(y: int, weights: int, *others: int, activation: object = "swiglu", **named: int) -> None: ...

    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError):
            OPEN.bind(tuple(args), kwargs)
    else:
        bound.apply_defaults()
        assert vars(OPEN.bind(tuple(args), kwargs)) == bound.arguments


def test_an_unknown_parameter_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="the signature has no parameter 'q'"):
        _ = GEMM.bind((1, 2, 3), {}).q


@pytest.mark.parametrize("text", ["a b", "a, b=x", "a, /, b", "a=", "1", "a:0\n#", "a: 0)#", "a): 0, (lambda b", "a\0"])
def test_a_text_that_is_no_list_of_parameters_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a list of parameters"):
        Signature(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a, a", "the parameter 'a' occurs twice"),
        ("a, *a", "the parameter 'a' occurs twice"),
        ("a, *, b, **b", "the parameter 'b' occurs twice"),
        ("a: lambda b", "it is more than a list of parameters"),
        ("a: 0 if 1 else lambda b", "it is more than a list of parameters"),
        ("a, /, b", "it has positional-only parameters"),
        ("a=[]", "the default of 'a' is mutable: []"),
        ("a, *, b={}", "the default of 'b' is mutable: {}"),
        ("a=(1, [2])", "the default of 'a' is mutable: (1, [2])"),
        ("a, b=x", "the default of 'b' is not a literal: x"),
        ("a={[]: 1}", "the default of 'a' is not a literal: {[]: 1}"),
    ],
)
def test_the_reason_why_a_text_is_refused_is_given(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f": {re.escape(reason)}$"):
        Signature(text)
