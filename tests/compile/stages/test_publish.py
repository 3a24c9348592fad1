"""Publishing: the first result of a job counts, cubins and failures alike; then the job is released."""

from __future__ import annotations

from pathlib import Path

import pytest
from events import EventLog
from small_kernels import small_kernel

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.job import Job
from kregistry.compile.nvcc import Compilation
from kregistry.compile.stages.fill import Fill
from kregistry.compile.stages.publish import Publish
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.event_bus import EventBus
from kregistry.store import Store
from kregistry.store.failures import BrokenKernels

FAILED = Compilation(b"", 1.0, "nvcc kernel.cu", "kernel.cu(3): error: too large")


class Stage:
    """A publishing stage, and what became of its jobs."""

    def __init__(self, store: Store, tmp_path: Path) -> None:
        store.open()
        self.store, self.broken, self.jit_cache = store, BrokenKernels(store.directory), JitCache(tmp_path / "jit")
        self.log, self.released = EventLog(), list[Job]()
        self.events = EventBus()
        self.events.listen(self.log)
        self.record = BuildRecord(self.events.hook)
        made = Publish(
            store,
            self.broken,
            Fill(self.jit_cache, self.record),
            "nvcc",
            self.record,
            lambda kernel: None,
            self.released.append,
        )
        self.publish = made.publish


@pytest.fixture
def stage(store: Store, tmp_path: Path) -> Stage:
    return Stage(store, tmp_path)


def test_a_cubin_is_in_the_store_and_in_the_jit_cache(stage: Stage, cubin: bytes) -> None:
    job = Job(small_kernel("a"))
    stage.publish(job, Compilation(cubin, 2.0, "ptxas", front_end_seconds=0.5))
    stored = stage.store.get(job.kernel.key)
    assert stored is not None and stage.jit_cache.fault(job.kernel, stored) is None
    (compiled,) = stage.record.compiled
    assert (compiled.seconds, compiled.nbytes, compiled.front_end_seconds) == (2.5, len(cubin), 0.5)
    assert (stage.record.filled, stage.released) == (1, [job])


def test_a_failure_is_remembered(stage: Stage) -> None:
    job = Job(small_kernel("a"))
    stage.publish(job, FAILED)
    known = stage.broken.get(job.kernel)
    assert known is not None and known.output == FAILED.failure
    assert ([each.kernel for each in stage.record.failed], stage.released) == ([job.kernel], [job])


def test_the_first_result_counts(stage: Stage, cubin: bytes) -> None:
    job = Job(small_kernel("a"))
    stage.publish(job, Compilation(cubin, 2.0, "nvcc"))
    stage.publish(job, FAILED)
    stage.publish(job, Compilation(cubin, 3.0, "nvcc"))
    stage.events.flush()
    assert stage.log.names() == ["kregistry_kernel_compiled"]
    assert (stage.broken.get(job.kernel), stage.released) == (None, [job])
