"""Variants of a kernel type take what its own methods refuse, also in another process."""

from __future__ import annotations

import pickle

import pytest
from good_kernel_types import Bf16Gemm

from kregistry import ShapeError
from kregistry.conformance.variant import sent, with_minimum_zero, without_check, without_refusal
from kregistry.kernel_type import Shape
from kregistry.target import TARGETS

H100 = TARGETS["h100"]


class RefusesAll(Bf16Gemm):
    def check(self, shape: Shape) -> None:
        raise ShapeError("no", "k")

    def refusal(self, shape: Shape, m: int) -> str | None:
        return "no"


def test_a_variant_has_no_check_and_the_original_keeps_it() -> None:
    kernel_type = RefusesAll()
    assert without_check(kernel_type).resolve({"n": 8, "k": 8}, H100).k == 8
    with pytest.raises(ShapeError):
        kernel_type.resolve({"n": 8, "k": 8}, H100)
    with pytest.raises(ShapeError):  # a dimension has its limits all the same
        without_check(kernel_type).resolve({"n": 8, "k": 4}, H100)


def test_a_variant_is_made_again_in_another_process() -> None:
    varied = pickle.loads(pickle.dumps(sent(without_refusal, RefusesAll())))
    assert varied.refusal(without_check(varied).resolve({"n": 8, "k": 8}, H100), 1) is None


def test_a_size_may_be_zero_in_a_variant() -> None:
    assert with_minimum_zero(Bf16Gemm(), "n").resolve({"n": 0, "k": 8}, H100).n == 0
