"""A cluster that compiles for a build: its executor, what its workers are sent, and how it was used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any

from attrs import define, field, frozen

from kregistry.deep_gemm.compiler import Compiler
from kregistry.kernel import Kernel
from kregistry.plan.lock import write_lock
from kregistry.plan.plan import Plan
from kregistry.scratch import scratch_directory
from kregistry.target import Target
from kregistry.toolchain import Versions


@define
class ClusterUse:
    """How a cluster was used.

    Attributes:
        tasks: groups of kernels that were sent.
        kernels: results that came back: a kernel, or the reason why it does not compile.
        lost: tasks that came to nothing: their workers died, refused, or sent something else.
        here: kernels that this machine compiled in place of the cluster.
        last_error: why the last task was lost.
        off: whether nothing is sent any more, since too many tasks in a row were lost.
    """

    tasks: int = 0
    kernels: int = 0
    lost: int = 0
    here: int = 0
    last_error: str = ""
    off: bool = False

    def summary(self) -> str:
        """One line."""
        line = f"cluster: {self.tasks} tasks, {self.kernels} kernels, {self.lost} lost, {self.here} compiled here"
        return f"{line}; nothing more was sent after: {self.last_error}" if self.off else line


@frozen
class Workers:
    """An executor, and what its workers run: :func:`kregistry.compile.on_worker.compile_lock`."""

    executor: Executor
    task: Callable[[bytes], dict[str, Any]]


@frozen
class Cluster:
    """The workers of a build.

    Attributes:
        workers: run tasks.
        target, versions: of the plan.
        compiler: the nvcc of this machine; workers must have the same version.
        use: how it was used.
    """

    workers: Workers
    target: Target
    versions: Versions
    compiler: Compiler
    use: ClusterUse = field(factory=ClusterUse)

    def submit(self, kernels: Iterable[Kernel]) -> Future[dict[str, Any]]:
        """Send kernels to a worker. Raises whatever the library of the cluster raises."""
        return self.workers.executor.submit(self.workers.task, self.lock_of(kernels))

    def lock_of(self, kernels: Iterable[Kernel]) -> bytes:
        """A lock file with sources of some kernels, and no entries.

        Raises:
            StorageError: there is no space for a temporary file.
        """
        plan = Plan(self.target, self.versions, {each.id: each for each in kernels}, ())
        with scratch_directory("cluster") as directory:
            path = directory / "kernels.lock"
            write_lock(plan, path, self.compiler)
            return path.read_bytes()
