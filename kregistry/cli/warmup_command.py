"""kregistry warmup"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.option_values import Selection, Storage, Verbosity
from kregistry.cli.options import (
    allow_broken_option,
    front_end_options,
    jobs_option,
    json_option,
    manifest_options,
    print_json,
    replan_option,
    storage_options,
    verbosity_options,
)
from kregistry.cli.output import echo
from kregistry.cli.problems import raise_problems


@click.command(name="warmup")
@manifest_options
@storage_options
@jobs_option
@front_end_options
@click.option(
    "--memory", default="0.9", help="Device memory to use: a fraction of the free memory, or a size such as 2GiB."
)
@replan_option
@verbosity_options
@allow_broken_option
@json_option
def command(
    selection: Selection,
    storage: Storage,
    jobs: int | None,
    shared_front_end: bool | None,
    paranoid: bool,
    memory: str,
    replan: bool,
    verbosity: Verbosity,
    allow_broken: bool,
    as_json: bool,
) -> None:
    """Build missing kernels, then load every kernel of the manifest FILE on this GPU with one launch each."""
    from kregistry.cli.progress import ProgressBar
    from kregistry.cli.tables import human_bytes
    from kregistry.errors import WarmupError
    from kregistry.warm_up import warmup
    from kregistry.warm_up.budget import MemoryBudget

    registry = selection.registry
    with _without_a_gpu(selection):
        manifest = selection.manifest("detect")
    MemoryBudget.parse(memory)  # wrong input is named first
    _require_a_gpu(selection)  # before there is any progress to show
    lost_context: WarmupError | None = None
    with ProgressBar(registry, verbosity, manifest, storage.store.directory, jobs), _without_a_gpu(selection):
        try:
            report = warmup(
                manifest,
                registry=registry,
                store=storage.store,
                cache_dir=storage.cache_dir_of(manifest),
                jobs=jobs,
                memory_budget=memory,
                replan=replan,
                shared_front_end=shared_front_end,
                paranoid=paranoid,
            )
        except WarmupError as error:
            report, lost_context = error.report, error
    if as_json:
        print_json(report.to_json())
    else:
        for each in report.left:
            echo(f"left on disk: {each}")
        if report.build is not None and report.build.outdated:
            echo(report.build.renewal)
        echo(
            f"{len(report.loaded)} of {report.total} kernels loaded with {len(report.launches)} launches in "
            f"{report.seconds:.2f} s, at most {human_bytes(report.peak_bytes)} of device memory, "
            f"{len(report.compiled)} compiled"
        )
    if lost_context is not None:
        raise lost_context
    raise_problems(report, allow_broken=allow_broken)


@contextmanager
def _without_a_gpu(selection: Selection) -> Iterator[None]:
    """Where something is missing, the GPU comes first: its hint is the command that works without one.

    Raises:
        MissingRequirement: there is no GPU, or the block found something else to be missing.
    """
    from kregistry.errors import MissingRequirement

    try:
        yield
    except MissingRequirement:
        _require_a_gpu(selection)
        raise


def _require_a_gpu(selection: Selection) -> None:
    from kregistry.warm_up.process import require_device

    here = selection.target if selection.target != "detect" else None
    require_device(next_command("build", target=here))
