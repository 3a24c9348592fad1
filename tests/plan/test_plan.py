"""Plans: where to launch, who uses what, what went wrong."""

from __future__ import annotations

import json

import attrs
import pytest
from plans import K, kernel_of, plan_of, planned

from kregistry.kernel import CompilerCommand
from kregistry.plan import Refusal
from kregistry.plan.plan import arch_flag

IDS = [kernel.id for kernel in K]


def test_launch_points_are_the_smallest_values_that_use_every_kernel() -> None:
    entry = planned((1, 16, "0"), (17, 32, "01"), (33, 64, "0"), (65, 80, "1"), (81, 90, "23"), (91, 99, "3"))
    assert entry.launch_points() == (1, 17, 81)
    assert list(entry.first_uses()) == [(1, (IDS[0],)), (17, (IDS[1],)), (81, (IDS[2], IDS[3]))]
    assert entry.kernels() == tuple(IDS)


def test_a_segment_may_launch_one_kernel_twice_or_none() -> None:
    entry = planned((1, 4, "00"), (5, 8, ""), (9, 9, "1"))
    assert list(entry.first_uses()) == [(1, (IDS[0],)), (9, (IDS[1],))]
    assert planned().launch_points() == ()


def test_the_spans_of_a_kernel_join_segments_that_meet() -> None:
    entry = planned((1, 16, "0"), (17, 64, "01"), (65, 65, "1"), (66, 70, "0"))
    assert entry.spans_of(IDS[0]) == ((1, 64), (66, 70))
    assert entry.spans_of(IDS[1]) == ((17, 65),)
    assert entry.spans_of(IDS[3]) == ()


def test_launch_points_without_a_kernel_leave_out_every_value_that_needs_it() -> None:
    """What a left-out value would have loaded as well is loaded at the next value that can be called."""
    entry = planned((1, 16, "01"), (17, 32, "02"), (33, 64, "3"), (65, 70, "13"))
    assert list(entry.first_uses(without={IDS[1]})) == [(17, (IDS[0], IDS[2])), (33, (IDS[3],))]
    assert list(entry.first_uses(without=IDS)) == []


def test_problems_name_the_entry_and_the_range() -> None:
    refusals = (Refusal(3, 5, "too much"), Refusal(8, 8, "far too much"))
    bad, broken, good = planned(refusals=refusals), planned(error="crashes", n=16), planned((1, 8, "0"), n=24)
    assert [entry.ok for entry in (bad, broken, good)] == [False, False, True]
    words = "layout=row splits=none sms=132"
    assert plan_of(bad, broken, good).problems() == (
        f"model: sample n=8 {words}: DeepGEMM refuses m 3..5: too much",
        f"model: sample n=8 {words}: DeepGEMM refuses m 8: far too much",
        f"model: sample n=16 {words}: crashes",
    )


def test_a_plan_without_a_kernel_says_that_it_is_no_mistake() -> None:
    nothing, handed_on = planned((1, 8, "")), attrs.evolve(planned((1, 8, "")), cublaslt=True)
    assert [nothing.remark(), handed_on.remark()] == ["nothing to compile", "nothing to compile: cuBLASLt"]
    assert handed_on.to_json()["remark"] == "nothing to compile: cuBLASLt"
    some, broken = attrs.evolve(planned((1, 8, "0")), cublaslt=True), planned(error="crashes")
    assert [some.remark(), broken.remark()] == ["", ""]
    assert "remark" not in some.to_json()


def test_the_json_of_a_plan() -> None:
    content = json.loads(json.dumps(plan_of(planned((1, 8, "10"), refusals=(Refusal(9, 9, "no"),))).to_json()))
    assert content == {
        "lock_version": 1,
        "target": {"name": "h100", "compute_capability": "9.0", "num_sms": 132},
        "versions": {"deep_gemm": "1", "torch": "2", "nvcc": "3"},
        "kernels": {
            IDS[0]: {"name": "gemm", "key": "0" * 64, "arch": "sm_90a"},
            IDS[1]: {"name": "gemm", "key": "1" * 64, "arch": "sm_90a"},
        },
        "entries": [
            {
                "model": "model",
                "type": "sample",
                "label": "",
                "shape": {"n": 8, "layout": "row", "splits": None, "sms": 132},
                "range": {"name": "m", "start": 1, "stop": 8, "step": 1},
                "segments": [{"start": 1, "stop": 8, "kernels": [IDS[1], IDS[0]]}],
                "refusals": [{"start": 9, "stop": 9, "reason": "no"}],
                "error": None,
            }
        ],
    }


@pytest.mark.parametrize(
    ("flag", "arch"),
    [
        ("-gencode=arch=compute_90a,code=sm_90a", "sm_90a"),
        ("--gpu-architecture=sm_100f", "sm_100f"),
        ("-arch=sm_90a", "sm_90a"),
        ("-O3", ""),
    ],
)
def test_the_arch_of_the_compiler_command(flag: str, arch: str) -> None:
    from attrs import evolve

    assert arch_flag(evolve(kernel_of(0), command=CompilerCommand(("-std=c++20", flag), ()))) == arch
