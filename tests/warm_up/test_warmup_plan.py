"""Warm-up's plan: written by the rank that builds, read by all, and by the next start."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from attrs import evolve
from plans import K, plan_of, planned

from kregistry.compile import BuildReport
from kregistry.compile.built_plan import write_built_plan
from kregistry.deep_gemm.compiled import CompileWatch
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import IncompleteError, InputError, StorageError
from kregistry.kernel import Kernel
from kregistry.manifest import Manifest
from kregistry.plan import Plan
from kregistry.store.failures import FailedKernel
from kregistry.target import get_target
from kregistry.warm_up.ranks import Ranks
from kregistry.warm_up.warmup_plan import WarmupPlan

PLAN = plan_of(planned((1, 16, "01"), (17, 32, "02"), (33, 64, "3"), (65, 70, "13")), planned((1, 8, "0"), n=16))
IDS = [kernel.id for kernel in K]


def report_of(plan: Plan, *broken: Kernel, output: str = "x.cu(1): error: no") -> BuildReport:
    failed = tuple(FailedKernel(kernel, "nvcc", output) for kernel in broken)
    return BuildReport(plan, (), len(plan.kernels) - len(failed), failed, 0, "", 0.0, 0.0)


def manifest_of(plan: Plan) -> Manifest:
    return Manifest("k.yaml", get_target("h100"), ("model",), tuple(each.entry for each in plan.entries), {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plans" / "x.json"


def written(path: Path, plan: Plan, *broken: Kernel, output: str = "x.cu(1): error: no") -> WarmupPlan:
    write_built_plan(path, report_of(plan, *broken, output=output))
    return WarmupPlan.read(path, manifest_of(plan))


def test_launches_and_kernels_are_those_of_the_plan(path: Path) -> None:
    found = written(path, PLAN)
    assert found.total == 4 and found.build.complete and found.broken_kernels() == ()
    assert [(point.entry.shape.n, point.m, point.kernels) for point in found.launch_points()] == [
        (8, 1, (IDS[0], IDS[1])),
        (8, 17, (IDS[2],)),
        (8, 33, (IDS[3],)),
        (16, 1, (IDS[0],)),
    ]


def test_a_compile_is_noticed_where_deep_gemm_writes_although_all_kernels_are_elsewhere(
    path: Path, tmp_path: Path
) -> None:
    """DeepGEMM 0.2 looks in each directory, and writes to the first."""
    local, shared = tmp_path / "local", tmp_path / "shared"
    entry = Path(".dj/cache/kernel.gemm.0")
    plan = plan_of(planned((1, 8, "0")))
    plan = evolve(plan, kernels={name: evolve(each, cache_entry=entry) for name, each in plan.kernels.items()})
    (shared / "cache" / entry.name).mkdir(parents=True)
    cache = JitCache(environment={"DG_JIT_CACHE_DIR": f"{local}:{shared}"})
    watch = CompileWatch(written(path, plan).directories(cache))
    compiled = local / "cache" / "kernel.other.1"
    compiled.mkdir(parents=True)
    (compiled / "kernel.cubin").touch()
    assert watch.compiled() == {compiled}


def test_what_needs_a_broken_kernel_is_not_launched_and_is_reported(path: Path) -> None:
    found = written(path, PLAN, K[1])
    assert found.total == 4 and found.build.complete
    assert [(point.entry.shape.n, point.m, point.kernels) for point in found.launch_points()] == [
        (8, 17, (IDS[0], IDS[2])),
        (8, 33, (IDS[3],)),
        (16, 1, (IDS[0],)),
    ]
    (broken,) = found.broken_kernels()
    assert (broken.kernel, broken.key, broken.output) == (IDS[1], K[1].key, "x.cu(1): error: no")
    assert [(each.entry.shape.n, each.start, each.stop) for each in broken.ranges] == [(8, 1, 16), (8, 65, 70)]


def test_what_may_end_otherwise_next_time_is_not_complete(path: Path) -> None:
    assert not written(path, PLAN, K[1], output="nvcc died due to signal 9").build.complete
    assert not written(path, plan_of(*PLAN.entries, planned(error="crashes", n=24))).build.complete


def test_all_ranks_take_what_rank_0_leaves(path: Path) -> None:
    barrier = threading.Barrier(3)
    taken = []

    def run(rank: int) -> None:
        ranks = Ranks.from_options(rank, barrier.wait)
        if ranks.builds:
            write_built_plan(path, report_of(PLAN))
        ranks.barrier()
        taken.append(WarmupPlan.read(path, manifest_of(PLAN)))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 3 and all(each == taken[0] for each in taken)
    assert [each.name for each in path.parent.iterdir()] == ["x.json"]


def test_rank_0_left_nothing(path: Path) -> None:
    with pytest.raises(IncompleteError) as caught:
        WarmupPlan.read(path, manifest_of(PLAN))
    assert str(caught.value) == f"rank 0 left no plan at {path}\nhint: its own message says why"


def test_content_that_cannot_be_used_is_one_clear_error(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"kernels": [], "broken": [], "uses": [], "complete": true}')  # of an earlier version
    with pytest.raises(InputError, match="not a lock file of version 1") as caught:
        WarmupPlan.read(path, manifest_of(PLAN))
    assert caught.value.hint == "remove the file, and warm up again"
    write_built_plan(path, report_of(PLAN))
    other = evolve(manifest_of(PLAN), entries=manifest_of(PLAN).entries[:1])
    with pytest.raises(InputError, match=r"not a built plan of k\.yaml"):
        WarmupPlan.read(path, other)


def test_a_directory_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        write_built_plan(tmp_path / "file" / "x.json", report_of(PLAN))
    with pytest.raises(InputError, match="Is a directory"):
        WarmupPlan.read(tmp_path, manifest_of(PLAN))
