"""kregistry report"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.option_values import Selection, Storage, Verbosity
from kregistry.cli.options import manifest_options, replan_option, storage_options, verbosity_options
from kregistry.cli.output import echo

if TYPE_CHECKING:
    from kregistry.compile.build_log import BuildLog
    from kregistry.deep_gemm.jit_cache import JitCache
    from kregistry.plan.plan import Plan


@click.command(name="report")
@manifest_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True, help="The page."
)
@click.option("--build", "build_id", help="Show this build (default: the newest one that compiled something).")
@click.option(
    "--against", type=click.Path(path_type=Path), help="Compare with this lock file: yesterday's, or another stack's."
)
@click.option("--monitor", type=click.Path(path_type=Path), help="Show the events in this log of a JIT monitor.")
@click.option(
    "--trace", type=click.Path(path_type=Path), help="Also write the build as a Chrome trace, for ui.perfetto.dev."
)
@storage_options
@replan_option
@verbosity_options
def command(
    selection: Selection,
    output: Path,
    build_id: str | None,
    against: Path | None,
    monitor: Path | None,
    trace: Path | None,
    storage: Storage,
    replan: bool,
    verbosity: Verbosity,
) -> None:
    """Write a page that shows the plan and the build of the manifest or lock file FILE (default: kernels.yaml).

    The page is one file that loads nothing: open it in a browser, or attach it to an issue.
    """
    from kregistry.cli.monitor_command import read_events
    from kregistry.deep_gemm.environment import PREFIXES
    from kregistry.plan.plan_file import read_plan
    from kregistry.report.kernel_facts import kernel_facts
    from kregistry.report.page import page
    from kregistry.report.page_contents import Comparison, PageContents, title_of

    plan, jit_cache = planned(selection, storage, verbosity, replan=replan)
    log = find_build_log(storage, plan, build_id)
    if trace is not None:
        write_trace(log, trace)
    environment = {name: value for name, value in sorted(os.environ.items()) if name.startswith(PREFIXES)}
    contents = PageContents(
        title_of(selection.file),
        plan,
        kernel_facts(plan, storage.store, jit_cache, log),
        log,
        dict(log.environment) if log else environment,
        Comparison.with_plan(title_of(against), read_plan(against), plan) if against else None,
        (title_of(monitor), tuple(read_events(monitor)[0])) if monitor else None,
    )
    write_text(output, page(contents))
    echo(f"{output}: {contents.ready} of {len(contents.facts)} kernels ready")


def planned(
    selection: Selection, storage: Storage, verbosity: Verbosity, *, replan: bool = False
) -> tuple[Plan, JitCache]:
    """The plan of a manifest, kept or made now, or the plan in a lock file; and the JIT cache."""
    from kregistry.cli.progress import ProgressBar
    from kregistry.deep_gemm.jit_cache import JitCache
    from kregistry.plan.lock import plan_of_lock
    from kregistry.plan.planner import make_plan

    if is_lock(selection.file):
        return plan_of_lock(selection.file, selection.registry), JitCache(storage.cache_dir)
    registry, manifest = selection.registry, selection.manifest()
    directory = storage.store.directory
    with ProgressBar(registry, verbosity, manifest, directory, builds=False):
        plan = make_plan(manifest, registry, keep_in=directory, replan=replan)
    verbosity.report_plan(plan)
    return plan, storage.jit_cache_of(manifest)


def is_lock(path: Path) -> bool:
    """Whether a file is JSON, as lock files are, and not YAML."""
    from kregistry.bounded_input import begins_with

    return begins_with(path, b"{")


def find_build_log(storage: Storage, plan: Plan, build_id: str | None) -> BuildLog | None:
    """The log that --build names, or the newest one of the plan."""
    from kregistry.compile.build_log import latest_build_log, read_build_log

    if build_id is not None:
        return read_build_log(storage.store.directory, build_id)
    return latest_build_log(storage.store.directory, plan.fingerprint) if plan.fingerprint else None


def write_trace(log: BuildLog | None, path: Path) -> None:
    """Write the Chrome trace of a build.

    Raises:
        InputError: there is no log of a build.
    """
    from kregistry.errors import InputError
    from kregistry.report.trace import chrome_trace

    if log is None:
        raise InputError("--trace: no build of this plan has left a log", f"{next_command('build')} makes one")
    write_text(path, json.dumps(chrome_trace(log)) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file in one step.

    Raises:
        StorageError: the file cannot be written.
    """
    from kregistry.store.atomic import write_output

    write_output(path, text.encode(errors="backslashreplace"))
