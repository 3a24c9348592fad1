"""A number that follows from m becomes the name of its rule."""

from __future__ import annotations

from typing import Any

from kregistry.registry import Registry
from kregistry.rehearsal.findings import RehearsedCall
from kregistry.rehearsal.policies import with_policies
from kregistry.target import get_target


def call(m: int, splits: int | None, kernel_type: str = "tf32_hc_prenorm_gemm", **shape: Any) -> RehearsedCall:
    shape = {"n": 24, "k": 16384, **shape, "num_splits": splits}
    return RehearsedCall(kernel_type, shape, m, "prefill", m, 1, "engine.py:1", "", "", "")


def splits(calls: list[RehearsedCall]) -> list[object]:
    found = with_policies(calls, Registry().__getitem__, get_target("h100"))
    return [each.shape["num_splits"] for each in found]


def test_numbers_of_one_policy_are_its_name_for_each_shape_apart() -> None:
    followed = [call(1, 64), call(4096, 2), call(8192, 1)]
    assert splits(followed) == ["occupancy"] * 3
    other = call(1, 112, k=28672)
    assert splits([*followed, other]) == [*["occupancy"] * 3, 112], "one number says nothing about a rule"
    assert splits([*followed, other, call(8192, 1, k=28672)]) == ["occupancy"] * 5


def test_numbers_that_no_policy_gives_stay() -> None:
    assert splits([call(1, 64), call(4096, 3)]) == [64, 3]
    assert splits([call(1, None), call(4096, None)]) == [None, None]


def test_other_kernel_types_stay() -> None:
    shape = {"n": 512, "k": 1024}
    calls = [RehearsedCall("fp8_gemm_nt", shape, m, "prefill", m, 1, "engine.py:1", "", "", "") for m in (1, 4096)]
    assert list(with_policies(calls, Registry().__getitem__, get_target("h100"))) == calls
