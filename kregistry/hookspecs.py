"""The hooks of kregistry: two return what a plugin offers, all others are events that any plugin may listen to.

A plugin is a module or object whose functions are marked with :data:`hookimpl`. An installed distribution names its
plugin in the entry-point group ``kregistry``. A hook implementation may omit arguments that it does not need.
The progress bar, metrics and logs are listeners of events; the core never prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pluggy

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from kregistry.events import CompiledKernel, FailedKernel, JitEvent, PlannedEntry, Task, WarmedKernel, WarmupOutcome
    from kregistry.kernel import Kernel
    from kregistry.kernel_type import KernelType
    from kregistry.manifest.model import Manifest

PROJECT = "kregistry"

_F = TypeVar("_F", bound=Callable[..., Any])

hookspec = cast("Callable[[_F], _F]", pluggy.HookspecMarker(PROJECT))
#: Marks a function of a plugin as an implementation of a hook.
hookimpl = cast("Callable[[_F], _F]", pluggy.HookimplMarker(PROJECT))


@hookspec
def kregistry_kernel_types() -> Iterable[KernelType]:  # type: ignore[empty-body]
    """Returns the kernel types that this plugin offers.

    **Example:**

        from kregistry import hookimpl

        @hookimpl
        def kregistry_kernel_types():
            return [MyGemm()]
    """


@hookspec
def kregistry_executor(url: str) -> Executor | None:
    """Returns an executor for the URL of ``build --on URL``; ``None`` for a URL of another kind.

    Its tasks run :func:`kregistry.compile.on_worker.compile_lock` on other machines. They may run more than once.

    **Example:**

        from kregistry import hookimpl

        @hookimpl
        def kregistry_executor(url):
            return MyExecutor(url) if url.startswith("mine://") else None
    """


@hookspec
def kregistry_plan_started(entries: int, target: str) -> None:
    """A dry run has started; it plans ``entries`` entries for ``target``."""


@hookspec
def kregistry_kernel_planned(kernel: Kernel) -> None:
    """The dry run has found a new kernel. Called once for each kernel, while the dry run goes on."""


@hookspec
def kregistry_entry_planned(entry: PlannedEntry) -> None:
    """The dry run of one entry has ended. ``entry`` holds its segments, or its error."""


@hookspec
def kregistry_task_started(task: Task) -> None:
    """A worker of a plan or build has started a task."""


@hookspec
def kregistry_task_finished(task: Task) -> None:
    """The task has ended, successfully or not; ``task.seconds`` says how long it took."""


@hookspec
def kregistry_compile_started(kernel: Kernel) -> None:
    """Compilation of a kernel that is not in the store has started.

    Called once per kernel, even if several compiler runs are needed.
    """


@hookspec
def kregistry_kernel_compiled(kernel: Kernel, compiled: CompiledKernel) -> None:
    """A kernel has been compiled, and is now in the store."""


@hookspec
def kregistry_kernel_found(kernel: Kernel) -> None:
    """A kernel need not be compiled, because the store has it or another builder has just made it."""


@hookspec
def kregistry_kernel_awaited(kernel: Kernel, owner: str) -> None:
    """Another builder has been compiling a kernel for some seconds; ``owner`` is e.g. ``process 12 on node-3``."""


@hookspec
def kregistry_kernel_failed(kernel: Kernel, failed: FailedKernel) -> None:
    """A kernel did not compile, now or (``failed.known``) in an earlier build. The build goes on with the others."""


@hookspec
def kregistry_front_end_started(kernels: tuple[Kernel, ...]) -> None:
    """A front end that these kernels share has started. Each kernel is assembled later, and has its own events."""


@hookspec
def kregistry_front_end_finished(kernels: tuple[Kernel, ...], seconds: float) -> None:
    """A shared front end has ended, successfully or not."""


@hookspec
def kregistry_front_end_not_shared(kernel: Kernel, reason: str) -> None:
    """A kernel is compiled alone, although sharing is on; ``reason`` says why."""


@hookspec
def kregistry_front_end_compared(kernel: Kernel, difference: str) -> None:
    """A kernel was compiled both ways; ``difference`` is empty if the cubins are the same."""


@hookspec
def kregistry_warmup_started(launches: int) -> None:
    """Warm-up has started; ``launches`` launches will be made."""


@hookspec
def kregistry_kernel_warmed(warmed: WarmedKernel) -> None:
    """One launch of the warm-up has ended. Its kernel is loaded, left on disk, or failed."""


@hookspec
def kregistry_warmup_finished(manifest: Manifest, report: WarmupOutcome) -> None:
    """Warm-up has ended in this process."""


@hookspec
def kregistry_unseen_call(kernel_type: str, shape: Mapping[str, object], m: int) -> None:
    """A call through the registry is not covered by any entry. Called once for each shape and value of m."""


@hookspec
def kregistry_sealed(kernel_types: tuple[str, ...]) -> None:
    """These kernel types are sealed: their calls now go straight to DeepGEMM."""


@hookspec
def kregistry_jit_compiled(event: JitEvent) -> None:
    """DeepGEMM has compiled a kernel in this process or one of its children, or the monitor has blocked it."""


@hookspec
def kregistry_jit_loaded(cubin: str) -> None:
    """Some process of this machine has read a kernel of the JIT cache from disk."""
