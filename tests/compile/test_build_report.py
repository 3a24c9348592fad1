"""The report of a build: what is ready, what failed, and whom it would hurt."""

from __future__ import annotations

import json

import pytest
from plans import K, plan_of, planned

from kregistry.compile import BuildReport, CompiledKernel, FailedKernel
from kregistry.compile.build_report import ComparedKernel, FrontEndRun, NotShared, ParsedHeaders, SharingReport
from kregistry.errors import CompileError, PlanError

FAILED = FailedKernel(K[1], "nvcc -O3 kernel.cu", "\n".join(f"line {number}" for number in range(20)))
WHO = "model: sample n=8 layout=row splits=none sms=132"


def report(*, failed: tuple[FailedKernel, ...] = (), error: str = "") -> BuildReport:
    plan = plan_of(planned((1, 16, "0"), (17, 32, "1"), (33, 40, "0"), (41, 41, "1")), planned(error=error, n=16))
    return BuildReport(plan, (CompiledKernel(K[0], 2.5, 1000),), 1 - len(failed), failed, 2, "/jit", 3.25, 2.5)


def test_everything_is_ready() -> None:
    done = report()
    assert (done.ready, done.total) == (2, 2)
    done.raise_problems()


def test_a_kernel_that_does_not_compile_names_its_users_and_the_compilers_last_words() -> None:
    with pytest.raises(CompileError) as caught:
        report(failed=(FAILED,)).raise_problems()
    lines = str(caught.value).splitlines()
    assert lines[:3] == [
        "1 of 2 kernels do not compile",
        f"  {K[1].id} does not compile",
        f"    a server would crash in {WHO} at m 17..32, 41",
    ]
    assert lines[3:-1] == [f"    line {number}" for number in range(8, 20)]
    assert lines[-1].startswith("hint: --allow-broken goes on without them")
    assert caught.value.report.ready == 1
    assert caught.value.exit_code == 5
    report(failed=(FAILED,)).raise_problems(allow_broken=True)


def test_entries_that_cannot_be_planned_are_reported_too() -> None:
    with pytest.raises(PlanError) as caught:
        report(error="crashes").raise_problems()
    assert str(caught.value) == f"1 problem in 2 entries\n  {WHO.replace('n=8', 'n=16')}: crashes"
    with pytest.raises(CompileError) as both:
        report(failed=(FAILED,), error="crashes").raise_problems()
    assert str(both.value).splitlines()[-2] == f"  {WHO.replace('n=8', 'n=16')}: crashes"
    with pytest.raises(PlanError):
        report(failed=(FAILED,), error="crashes").raise_problems(allow_broken=True)


def test_the_json_of_a_report() -> None:
    content = json.loads(json.dumps(report(failed=(FAILED,), error="crashes").to_json()))
    assert content == {
        "target": "h100",
        "versions": {"deep_gemm": "1", "torch": "2", "nvcc": "3"},
        "kernels": 2,
        "ready": 1,
        "compiled": [{"id": K[0].id, "seconds": 2.5, "bytes": 1000}],
        "failed": [
            {
                "id": K[1].id,
                "output": FAILED.output,
                "known": False,
                "crashes": [{"entry": WHO, "range": "m", "spans": [[17, 32], [41, 41]]}],
                "command": "nvcc -O3 kernel.cu",
            }
        ],
        "problems": [f"{WHO.replace('n=8', 'n=16')}: crashes"],
        "cache_entries_filled": 2,
        "cache_directory": "/jit",
        "seconds": 3.25,
        "compiling_seconds": 2.5,
        "outdated": 0,
        "sharing": {"parsed": [], "front_ends": [], "not_shared": [], "compared": [], "different": [], "known": []},
        "remote": [],
    }


def test_the_json_of_what_was_shared() -> None:
    sharing = SharingReport(
        (ParsedHeaders("gemm.cuh", 1.25),),
        (FrontEndRun("gemm.cuh", (K[0], K[1]), 2.5),),
        (NotShared(K[1], "too odd"), NotShared(K[2], "too odd"), NotShared(K[3], "other")),
        (ComparedKernel(K[0], ""), ComparedKernel(K[1], "the content of .text")),
    )
    assert json.loads(json.dumps(sharing.to_json())) == {
        "parsed": [{"family": "gemm.cuh", "seconds": 1.25}],
        "front_ends": [{"family": "gemm.cuh", "kernels": 2, "seconds": 2.5}],
        "not_shared": [
            {"reason": "too odd", "kernels": [K[1].id, K[2].id]},
            {"reason": "other", "kernels": [K[3].id]},
        ],
        "compared": [K[0].id, K[1].id],
        "different": [{"id": K[1].id, "difference": "the content of .text"}],
        "known": [],
    }


@pytest.mark.parametrize(
    "output", ["nvcc error   : 'cicc' died due to signal 9", "the compiler ended with exit code -9 and no message"]
)
def test_a_compiler_that_was_killed_is_not_accepted(output: str) -> None:
    """Nothing is known of the kernel: no server may go on without it."""
    failed = FailedKernel(K[1], "nvcc kernel.cu", output)
    with pytest.raises(CompileError):
        report(failed=(failed,)).raise_problems(allow_broken=True)
