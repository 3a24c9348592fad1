"""The hooks of kregistry: one that offers kernel types, and events that any plugin may listen to.

A plugin is a module or object whose functions carry :data:`hookimpl`; an installed distribution names it in the
entry-point group ``kregistry``. A hook implementation may leave out arguments that it does not need.
Events are broadcast: the progress bar, metrics and logs are listeners, core never prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pluggy

if TYPE_CHECKING:
    from kregistry.events import CompiledKernel, FailedKernel, JitEvent, PlannedEntry, WarmedKernel, WarmupOutcome
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
    """The kernel types that this plugin offers.

    **Example:**

        from kregistry import hookimpl

        @hookimpl
        def kregistry_kernel_types():
            return [MyGemm()]
    """


@hookspec
def kregistry_plan_started(entries: int, target: str) -> None:
    """A dry run of ``entries`` entries for a target begins."""


@hookspec
def kregistry_kernel_planned(kernel: Kernel) -> None:
    """The dry run met a kernel for the first time; called once for each kernel, while the dry run goes on."""


@hookspec
def kregistry_entry_planned(entry: PlannedEntry) -> None:
    """The dry run of one entry has ended: its segments are known, or its error."""


@hookspec
def kregistry_compile_started(kernel: Kernel) -> None:
    """A compiler starts on a kernel that the store lacks; told once, also if the kernel takes several."""


@hookspec
def kregistry_kernel_compiled(kernel: Kernel, compiled: CompiledKernel) -> None:
    """A kernel has been compiled and is in the store."""


@hookspec
def kregistry_kernel_found(kernel: Kernel) -> None:
    """A kernel need not be compiled: the store has it, or another builder has just made it."""


@hookspec
def kregistry_kernel_failed(kernel: Kernel, failed: FailedKernel) -> None:
    """A kernel did not compile, now or (``failed.known``) in an earlier build; the others go on."""


@hookspec
def kregistry_front_end_started(kernels: tuple[Kernel, ...]) -> None:
    """A front end that these kernels share starts; each of them is assembled later, and told of by itself."""


@hookspec
def kregistry_front_end_finished(kernels: tuple[Kernel, ...], seconds: float) -> None:
    """A shared front end has ended, also one that failed."""


@hookspec
def kregistry_front_end_not_shared(kernel: Kernel, reason: str) -> None:
    """A kernel is compiled alone, although front ends are shared."""


@hookspec
def kregistry_front_end_compared(kernel: Kernel, difference: str) -> None:
    """A kernel was compiled both ways; ``difference`` is empty if the cubins are the same."""


@hookspec
def kregistry_warmup_started(launches: int) -> None:
    """Warm-up begins: so many launches are due."""


@hookspec
def kregistry_kernel_warmed(warmed: WarmedKernel) -> None:
    """One launch of the warm-up has ended: a kernel is loaded, left on disk, or failed."""


@hookspec
def kregistry_warmup_finished(manifest: Manifest, report: WarmupOutcome) -> None:
    """Warm-up has ended in this process."""


@hookspec
def kregistry_unseen_call(kernel_type: str, shape: Mapping[str, object], m: int) -> None:
    """A call through the registry that no covered entry foresees; told once for each shape and value of m."""


@hookspec
def kregistry_sealed(kernel_types: tuple[str, ...]) -> None:
    """From now on the calls of these kernel types are DeepGEMM's own."""


@hookspec
def kregistry_jit_compiled(event: JitEvent) -> None:
    """DeepGEMM has compiled a kernel, or was refused to, in this process or one of its children."""


@hookspec
def kregistry_jit_loaded(cubin: str) -> None:
    """A kernel of the JIT cache was read from disk, by any process of this machine."""
