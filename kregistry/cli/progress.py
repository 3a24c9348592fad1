"""The progress bar: a listener of events, on standard error."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kregistry.cli.output import escape_controls
from kregistry.events import CompiledKernel, FailedKernel, PlannedEntry, Warmed, WarmedKernel
from kregistry.hookspecs import hookimpl
from kregistry.kernel import Kernel
from kregistry.registry import Registry


class ProgressBar:
    """Shows entries planned, kernels ready, running compilers and time left. Use as a context manager.

    Args:
        registry: the registry whose events are shown. The end of the context waits for the last event.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._console = Console(stderr=True, markup=False, emoji=False)
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._plan = self._progress.add_task("planning", total=None, note="", visible=False)
        self._build = self._progress.add_task("kernels", total=0, note="", visible=False)
        self._warm = self._progress.add_task("loading", total=0, note="", visible=False)
        self._running = 0
        self._known = 0

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        self._registry.listen(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._registry.events.flush()
        self._progress.stop()

    @hookimpl
    def kregistry_plan_started(self, entries: int, target: str) -> None:
        self._progress.update(self._plan, total=entries, note=f"entries for {target}", visible=True)

    @hookimpl
    def kregistry_entry_planned(self, entry: PlannedEntry) -> None:
        self._progress.advance(self._plan)

    @hookimpl
    def kregistry_kernel_planned(self, kernel: Kernel) -> None:
        self._known += 1
        self._progress.update(self._build, total=self._known, visible=True)

    @hookimpl
    def kregistry_compile_started(self, kernel: Kernel) -> None:
        self._count_running(+1)

    @hookimpl
    def kregistry_kernel_found(self, kernel: Kernel) -> None:
        self._progress.advance(self._build)

    @hookimpl
    def kregistry_kernel_compiled(self, kernel: Kernel, compiled: CompiledKernel) -> None:
        self._count_running(-1)
        self._progress.advance(self._build)

    @hookimpl
    def kregistry_kernel_failed(self, kernel: Kernel, failed: FailedKernel) -> None:
        if not failed.known:
            self._count_running(-1)
        self._progress.advance(self._build)
        words = "is known not to compile" if failed.known else "does not compile"
        self._say(f"{kernel.id} {words}", "red")

    @hookimpl
    def kregistry_front_end_started(self, kernels: tuple[Kernel, ...]) -> None:
        self._count_running(+1)

    @hookimpl
    def kregistry_front_end_finished(self, kernels: tuple[Kernel, ...], seconds: float) -> None:
        self._count_running(-1)

    @hookimpl
    def kregistry_front_end_compared(self, kernel: Kernel, difference: str) -> None:
        if difference:
            text = f"{kernel.id}: a shared front end and nvcc alone make different kernels; nvcc's is used: "
            self._say(text + difference, "yellow")

    @hookimpl
    def kregistry_warmup_started(self, launches: int) -> None:
        self._progress.update(self._warm, total=launches, visible=True)

    @hookimpl
    def kregistry_kernel_warmed(self, warmed: WarmedKernel) -> None:
        self._progress.advance(self._warm)
        if warmed.outcome is not Warmed.LOADED:
            self._say(f"{warmed.outcome.value}: {warmed}", "yellow")

    def _say(self, text: str, style: str) -> None:
        """Print one line; it is not wrapped, because a log file has no width."""
        self._progress.console.print(escape_controls(text), style=style, highlight=False, soft_wrap=True)

    def _count_running(self, change: int) -> None:
        self._running += change
        self._progress.update(self._build, note=f"{self._running} running")
