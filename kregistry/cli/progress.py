"""Progress on standard error: one bar on a terminal; a line every ten seconds and at each tenth in a pipe.

rich is imported when there is something to draw: in a pipe, compilers start before that.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from kregistry.cli.option_values import Verbosity
from kregistry.cli.output import escape_controls
from kregistry.cli.work import Work
from kregistry.events import CompiledKernel, FailedKernel, Warmed, WarmedKernel
from kregistry.hookspecs import hookimpl
from kregistry.kernel import Kernel
from kregistry.manifest import Manifest
from kregistry.registry import Registry

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

#: A line is written after this many seconds without one.
_LINE_SECONDS = 10.0
#: Lines are at least this many seconds apart: what takes no longer in all writes none.
_LEAST_SECONDS = 5.0
#: How often the state of the work is looked at.
_TICK_SECONDS = 0.5
#: Variables by which rich takes a pipe for a terminal.
_FORCING = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


class ProgressBar:
    """Shows planning, compiling and loading as one job. Use as a context manager.

    Args:
        registry: the registry whose events are shown. The end of the context waits for the last event.
        verbosity: ``QUIET`` shows only what went wrong; ``VERBOSE`` also shows each kernel.
        manifest, store_directory, jobs, builds: see :class:`~kregistry.cli.work.Work`.
    """

    def __init__(
        self,
        registry: Registry,
        verbosity: Verbosity = Verbosity.NORMAL,
        manifest: Manifest | None = None,
        store_directory: Path | None = None,
        jobs: int | None = None,
        builds: bool = True,
    ) -> None:
        self.work = Work(manifest, store_directory, jobs, builds)
        self._registry = registry
        self._verbosity = verbosity
        self._live: Live | None = None
        self._ticker: threading.Thread | None = None
        self._ended = threading.Event()

    def __enter__(self) -> ProgressBar:
        self._registry.listen(self.work)
        self._registry.listen(self)
        if self._verbosity is not Verbosity.QUIET:
            if self._draws():
                from rich.live import Live

                self._live = Live(console=self._console, get_renderable=self._bar, transient=True)
                self._live.start()
            else:
                self._ticker = threading.Thread(target=self._write_lines, daemon=True)
                self._ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._registry.events.flush()
        self._ended.set()
        if self._ticker is not None:
            self._ticker.join()
        if self._live is not None:
            self._live.stop()

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(stderr=True, markup=False, emoji=False)

    def _draws(self) -> bool:
        might = sys.stderr.isatty() or any(name in os.environ for name in _FORCING)
        return might and self._console.is_terminal

    # ---- what went wrong, and what a verbose command shows ---------------------------------------------------

    @hookimpl
    def kregistry_kernel_compiled(self, kernel: Kernel, compiled: CompiledKernel) -> None:
        if self._verbosity is Verbosity.VERBOSE:
            from kregistry.cli.tables import human_bytes

            self._say(f"{kernel.id} compiled in {compiled.seconds:.1f} s, {human_bytes(compiled.nbytes)}")

    @hookimpl
    def kregistry_front_end_not_shared(self, kernel: Kernel, reason: str) -> None:
        if self._verbosity is Verbosity.VERBOSE:
            self._say(f"{kernel.id} is compiled alone: {reason}")

    @hookimpl
    def kregistry_kernel_awaited(self, kernel: Kernel, owner: str) -> None:
        self._say(f"waiting for {owner}, which compiles {kernel.id}", "yellow")

    @hookimpl
    def kregistry_kernel_failed(self, kernel: Kernel, failed: FailedKernel) -> None:
        words = "is known not to compile" if failed.known else "does not compile"
        self._say(f"{kernel.id} {words}", "red")

    @hookimpl
    def kregistry_front_end_compared(self, kernel: Kernel, difference: str) -> None:
        if difference:
            text = f"{kernel.id}: a shared front end and nvcc alone make different kernels; nvcc's is used: "
            self._say(text + difference, "yellow")

    @hookimpl
    def kregistry_kernel_warmed(self, warmed: WarmedKernel) -> None:
        if warmed.outcome is not Warmed.LOADED:
            self._say(f"{warmed.outcome.value}: {warmed}", "yellow")

    def _say(self, text: str, style: str = "") -> None:
        """Print one line; it is not wrapped, because a log file has no width."""
        self._console.print(escape_controls(text), style=style or None, highlight=False, soft_wrap=True)

    # ---- lines -----------------------------------------------------------------------------------------------

    def _write_lines(self) -> None:
        last, tenth = 0.0, 0
        while not self._ended.wait(_TICK_SECONDS):
            now, reached = self.work.elapsed, int(self.work.fraction() * 10)
            if now - last >= _LINE_SECONDS or (reached > tenth and now - last >= _LEAST_SECONDS):
                last, tenth = now, max(tenth, reached)
                self._say(line(self.work))

    # ---- the bar ---------------------------------------------------------------------------------------------

    def _bar(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar as Bar
        from rich.table import Table
        from rich.text import Text

        work, fraction = self.work, self.work.fraction()
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        bar = Bar(total=1.0, completed=fraction, pulse=not work.entries)
        grid.add_row(phase(work), bar, f"{fraction:4.0%} {counts(work)} {times(work)}")
        slowest = work.slowest()
        running = f" ({work.running} running)" if work.running > 1 else ""
        now = Text(f"slowest: {slowest}{running}" if slowest else "", style="dim", overflow="ellipsis", no_wrap=True)
        return Group(grid, now)


def line(work: Work) -> str:
    """The state of the work in one line."""
    slowest = f"; slowest: {work.slowest()}" if work.slowest() else ""
    return f"{work.fraction():4.0%} {phase(work)}: {counts(work)}, {times(work)}{slowest}"


def phase(work: Work) -> str:
    """What the work consists of now."""
    if work.launches:
        return "loading"
    if work.planned < work.entries:
        return "planning"
    return "compiling" if work.known > work.ready + work.broken else "planning" if not work.entries else "finishing"


def counts(work: Work) -> str:
    """How far it has come, in the unit that moves."""
    if work.launches:
        return f"{work.loaded}/{work.launches} launches"
    if work.planned < work.entries:
        return f"{work.planned}/{work.entries} entries"
    return f"{work.ready + work.broken}/{work.known} kernels"


def times(work: Work) -> str:
    """Time that has passed, and that is left."""
    return f"{clock(work.elapsed)}, about {clock(work.seconds_left())} left"


def clock(seconds: float) -> str:
    """``75.3`` -> ``1:15``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
