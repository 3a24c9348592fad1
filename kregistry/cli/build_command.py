"""kregistry build"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.option_values import Selection, Storage, Verbosity
from kregistry.cli.options import (
    allow_broken_option,
    front_end_options,
    jobs_option,
    json_option,
    print_json,
    replan_option,
    storage_options,
    unloaded_manifest_options,
    verbosity_options,
)
from kregistry.cli.output import echo, say
from kregistry.cli.problems import raise_problems
from kregistry.cli.remote_options import remote_options
from kregistry.errors import InputError

if TYPE_CHECKING:
    from kregistry.compile.build_report import BuildReport
    from kregistry.compile.session import Session
    from kregistry.remote.chain import Chain


class _Options(TypedDict):
    """What a session, a build and the build of a lock file are all given."""

    jobs: int | None
    shared_front_end: bool | None
    paranoid: bool
    remote: Chain


@click.command(name="build")
@unloaded_manifest_options
@click.option(
    "--lock",
    type=click.Path(path_type=Path),
    help="Compile the kernels of this lock file with sources: needs nvcc and DeepGEMM's headers only.",
)
@click.option(
    "--headers",
    multiple=True,
    type=click.Path(path_type=Path),
    help="With --lock: a directory of DeepGEMM's headers (default: the installed DeepGEMM's; can be repeated).",
)
@click.option("--shard", metavar="I/N", help="Build part I of N; 'auto': as Slurm, Kubernetes or the CI system says.")
@click.option(
    "--on", metavar="URL", help="Let a cluster compile: dask://HOST:8786, ray://HOST:10001, slurm://PARTITION."
)
@storage_options
@remote_options
@jobs_option
@replan_option
@verbosity_options
@allow_broken_option
@front_end_options
@json_option
def command(
    selection: Selection,
    lock: Path | None,
    headers: tuple[Path, ...],
    shard: str | None,
    on: str | None,
    storage: Storage,
    remote: Chain,
    jobs: int | None,
    shared_front_end: bool | None,
    paranoid: bool,
    replan: bool,
    verbosity: Verbosity,
    allow_broken: bool,
    as_json: bool,
) -> None:
    """Compile the missing kernels of the manifest FILE (default: kernels.yaml), without a GPU.

    A lock file with sources beside FILE, of the same name (kernels.lock), lets compiling start before planning ends.
    """
    beside = _lock_beside(selection.file) if lock is None else None
    begin = lock is None and shard is None and on is None and not headers
    options: _Options = {
        "jobs": jobs,
        "shared_front_end": shared_front_end,
        "paranoid": paranoid,
        "remote": remote,
    }
    with _begun(selection, beside, storage, options) if begin else nullcontext() as session:
        # Compilers may run by now. What follows is imported, loaded and read meanwhile.
        from kregistry.cli.progress import ProgressBar
        from kregistry.compile.build_lock import build_lock
        from kregistry.compile.executors import open_executor
        from kregistry.compile.on_worker import workers
        from kregistry.compile.plan_and_build import build_kernels
        from kregistry.compile.shard import Shard

        registry = selection.registry
        part = Shard.parse(shard) if shard else None
        cluster = open_executor(on, registry.events) if on is not None else nullcontext()
        if lock is not None:
            _refuse_selection(selection)
            with cluster as executor, ProgressBar(registry, verbosity, None, storage.store.directory, jobs):
                report = build_lock(
                    lock,
                    registry.events,
                    store=storage.store,
                    headers=headers,
                    shard=part,
                    **options,
                    workers=workers(executor, shared_front_end, paranoid) if executor else None,
                )
        else:
            if headers:
                raise InputError("--headers is used with --lock only", "a plan finds the headers by itself")
            manifest = selection.manifest()
            jit_cache = storage.jit_cache_of(manifest)
            with cluster as executor, ProgressBar(registry, verbosity, manifest, storage.store.directory, jobs):
                report = build_kernels(
                    manifest,
                    registry,
                    store=storage.store,
                    jit_cache=jit_cache,
                    **options,
                    replan=replan,
                    lock=beside,
                    shard=part,
                    executor=executor,
                    session=session,
                )
            storage.warn_of_places(manifest, report.plan.kernels.values(), jit_cache)
    _show(report, remote, verbosity, as_json)
    raise_problems(report, allow_broken=allow_broken)


def _begun(
    selection: Selection, beside: Path | None, storage: Storage, options: _Options
) -> AbstractContextManager[Session | None]:
    """The compilers of a build, started before its manifest is loaded where it is known which headers they need.

    Args:
        beside: the lock file of the manifest.
        options: of the build and of the session.
    """
    from kregistry.compile.session import begin_with_headers, begin_with_lock
    from kregistry.manifest.glance import glance

    if beside is not None:
        return begin_with_lock(beside, selection.events, storage.store, **options)
    seen = glance(selection.file, selection.models, selection.target)
    return begin_with_headers(seen, selection.events, storage.store, **options) if seen is not None else nullcontext()


def _show(report: BuildReport, remote: Chain, verbosity: Verbosity, as_json: bool) -> None:
    """What the build came to."""
    verbosity.report_plan(report.plan)
    if verbosity is Verbosity.VERBOSE and report.id:
        say(f"build {report.id}: its log is kept beside the store")
    if verbosity is Verbosity.VERBOSE:
        for each in report.sharing.known:
            found = f"differs from nvcc's own ({each.difference})" if each.difference else "identical to nvcc's own"
            say(f"{each.family}: a shared front end's kernel was compared by {each.compared_by}: {found}")
    for line in remote.summaries():
        say(line)
    if report.cluster is not None:
        say(report.cluster.summary())
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report)


def _lock_beside(file: Path) -> Path | None:
    """The lock file of a manifest, ``kernels.lock`` beside ``kernels.yaml``; ``None`` if there is none."""
    lock = file.with_suffix(".lock") if file.is_file() else None
    return lock if lock is not None and lock.is_file() else None


def _refuse_selection(selection: Selection) -> None:
    """A lock file is built as a whole, for the target that it was made for."""
    if selection.models or selection.target or selection.file != Path("kernels.yaml"):
        raise InputError(
            "--lock builds a whole lock file: FILE, --model and --target say nothing about it",
            next_command("build"),
        )


def print_report(report: BuildReport) -> None:
    """Print a table with one row for each kernel family, and the totals."""
    from kregistry.cli.tables import human_bytes, print_table

    families = Counter(kernel.name for kernel in report.plan.kernels.values())
    compiled = defaultdict(list)
    for each in report.compiled:
        compiled[each.kernel.name].append(each)
    failed = Counter(each.kernel.name for each in report.failed)
    rows = [
        (
            name,
            count,
            len(compiled[name]),
            failed[name],
            f"{sum(each.seconds for each in compiled[name]):.1f}",
            human_bytes(sum(each.nbytes for each in compiled[name])),
        )
        for name, count in sorted(families.items())
    ]
    print_table(("kernel family", ">needed", ">compiled", ">failed", ">compiler s", ">bytes"), rows)
    if report.compiled:
        echo("needed: kernels of the plan; compiler s and bytes: of the kernels that this build compiled")
    if report.outdated:
        echo(report.renewal)
    echo(
        f"{report.ready} of {report.total} kernels ready in {report.cache_directory} "
        f"({len(report.compiled)} compiled, {report.found} found, {report.seconds:.1f} s)"
    )
