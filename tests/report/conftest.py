"""A plan with kernels that look like DeepGEMM's, some of them in a store, and a build of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve
from plans import K, plan_of, planned

from kregistry.compile.build_log import BuildLog, LoggedKernel
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.events import Task
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.plan import Plan, Refusal
from kregistry.report.kernel_facts import kernel_facts
from kregistry.report.page_contents import PageContents
from kregistry.store import Store

HEADER = """
template <int kOther> void other_impl() {}
template <uint32_t BLOCK_M, uint32_t BLOCK_N,
          typename dtype_t = float, bool kFlag = (1 < 2)>
__global__ void __launch_bounds__(128, 1) gemm_impl(float* d) {}
"""
SOURCE = """#include <impls/gemm.cuh>
using namespace deep_gemm;
static void __instantiate_kernel() {
    auto ptr = reinterpret_cast<void*>(&gemm_impl<%s, 64, cutlass::bfloat16_t, true>);
};
"""


@pytest.fixture
def kernels(tmp_path: Path) -> dict[str, Kernel]:
    (tmp_path / "include" / "impls").mkdir(parents=True)
    (tmp_path / "include" / "impls" / "gemm.cuh").write_text(HEADER)
    command = CompilerCommand(("-O3",), (tmp_path / "include",))
    return {each.id: evolve(each, source=SOURCE % (16 << at), command=command) for at, each in enumerate(K)}


@pytest.fixture
def plan(kernels: dict[str, Kernel]) -> Plan:
    entries = (
        planned((1, 16, "0"), (17, 32, "01"), (33, 300, "2"), (301, 400, "1")),
        planned((1, 8, "3"), n=16, refusals=(Refusal(9, 9, "<no> & never"),)),
    )
    return evolve(plan_of(*entries), kernels=kernels, fingerprint="f" * 32)


@pytest.fixture
def log(plan: Plan) -> BuildLog:
    """Two workers: K0 and K1 share a front end, K2 is compiled alone."""
    ids = tuple(each.id for each in K)
    tasks = (
        Task("start", "torch and DeepGEMM", "planner 1", (), 100.0, 1.0),
        Task("plan", "a", "planner 1", (), 101.0, 1.0),
        Task("parse", "gemm", "worker 1", (), 102.0, 2.0),
        Task("alone", "gemm", "worker 2", (ids[2],), 102.0, 3.0),
        Task("generate", "gemm", "worker 1", ids[:2], 104.0, 3.0),
        Task("assemble", "gemm", "worker 2", ids[:1], 107.0, 1.0),
        Task("assemble", "gemm", "worker 1", ids[1:2], 107.0, 2.5),
    )
    kernels = {
        ids[0]: LoggedKernel("compiled", 2.0, 100),
        ids[1]: LoggedKernel("compiled", 2.0, 200),
        ids[2]: LoggedKernel("compiled", 3.0, 300),
        ids[3]: LoggedKernel("broken"),
    }
    return BuildLog(
        "20260101T000000-7",
        "0.1.0",
        100.0,
        10.0,
        2,
        4,
        ("model",),
        "h100",
        plan.versions.to_json(),
        plan.fingerprint,
        False,
        {"DG_JIT_DEBUG": "1"},
        "jit",
        tasks,
        kernels,
        ((1.0, 1.5), (2.0, 3.5), (9.0, 2.0)),
    )


@pytest.fixture
def contents(plan: Plan, log: BuildLog, tmp_path: Path) -> PageContents:
    """K0 is in the store and in the JIT cache, K1 in the store only; K2 and K3 are nowhere."""
    store, jit_cache = Store(tmp_path / "store"), JitCache(tmp_path / "jit")
    for kernel, nbytes in ((K[0], 100), (K[1], 2048)):
        store.entry(kernel.key).mkdir(parents=True)
        (store.entry(kernel.key) / "kernel.json").write_text(json.dumps({"bytes": nbytes, "seconds": 2.5}))
    cubin = jit_cache.cubin(K[0])
    cubin.parent.mkdir(parents=True)
    cubin.touch()
    facts = kernel_facts(plan, store, jit_cache, log)
    return PageContents("kernels.yaml", plan, facts, log, dict(log.environment))
