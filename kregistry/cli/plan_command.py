"""kregistry plan"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.option_values import Selection, Verbosity
from kregistry.cli.options import (
    allow_broken_option,
    json_option,
    manifest_options,
    print_json,
    replan_option,
    store_option,
    verbosity_options,
)
from kregistry.cli.output import echo
from kregistry.cli.output_file import check_output, force_option, is_lock_file
from kregistry.cli.problems import PlanOutcome, raise_problems
from kregistry.errors import InputError, count_of
from kregistry.plan.plan import Plan

if TYPE_CHECKING:
    from kregistry.store import Store


@click.command(name="plan")
@manifest_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the plan as a lock file.")
@force_option
@click.option(
    "--sources", is_flag=True, help="With -o: also write the sources, for 'kregistry build --lock' on other machines."
)
@click.option(
    "--check", "lock", type=click.Path(path_type=Path), help="Compare with a lock file; exit 1 if it differs."
)
@store_option
@replan_option
@verbosity_options
@allow_broken_option
@json_option
def command(
    selection: Selection,
    store: Store,
    output: Path | None,
    force: bool,
    sources: bool,
    lock: Path | None,
    replan: bool,
    verbosity: Verbosity,
    allow_broken: bool,
    as_json: bool,
) -> None:
    """Find every kernel that the manifest FILE (default: kernels.yaml) needs, without a GPU."""
    from kregistry.cli.progress import ProgressBar
    from kregistry.plan.lock import check_lock, write_lock
    from kregistry.plan.plan_file import read_plan
    from kregistry.plan.planner import make_plan
    from kregistry.toolchain import find_toolchain

    if sources and output is None:
        raise InputError("--sources needs -o FILE", f"{next_command('plan')} --sources -o kernels.lock")
    check_output(output, force, is_lock_file)
    if lock is not None:
        read_plan(lock)  # a wrong file is found before planning
    registry, manifest = selection.registry, selection.manifest()
    with ProgressBar(registry, verbosity, manifest, store.directory, builds=False):
        plan = make_plan(manifest, registry, keep_in=store.directory, replan=replan)
    verbosity.report_plan(plan)
    outcome = PlanOutcome.from_store(plan, store)
    if lock is not None and not as_json:
        check_lock(plan, lock, next_command("plan", "-o", str(lock)))
        echo(f"{lock} agrees with this plan: {count_of(len(plan.kernels), 'kernel')}")
    elif as_json:
        print_json({**plan.to_json(), "known_broken": [each.to_json() for each in outcome.broken]})
    else:
        print_plan(plan)
    if output is not None:
        write_lock(plan, output, find_toolchain().cuda.compiler if sources else None)
    if lock is not None and as_json:
        check_lock(plan, lock, next_command("plan", "-o", str(lock)))
    raise_problems(outcome, allow_broken=allow_broken)


def print_plan(plan: Plan) -> None:
    """Print a table with one row for each entry, and the totals."""
    from kregistry.cli.tables import human_bytes, print_table

    for model in dict.fromkeys(planned.entry.model for planned in plan.entries):
        rows = [
            (
                planned.entry.label or planned.entry.kernel_type,
                planned.entry.kernel_type,
                planned.entry.shape,
                planned.entry.range,
                len(planned.launch_points()),
                len(planned.kernels()) if planned.ok else "-",
                human_bytes(planned.nbytes),
            )
            for planned in plan.entries
            if planned.entry.model == model
        ]
        columns = ("entry", "kernel type", "~shape", "range", ">launches", ">kernels", ">memory")
        print_table(columns, rows, f"model {model}")
        echo()
    echo("launches: calls of a warm-up that load every kernel of the entry")
    echo("kernels: different cubins; memory: device memory of the largest launch")
    for planned in plan.entries:
        if planned.remark():
            echo(f"{planned.entry}: {planned.remark()}")
    versions = plan.versions
    echo(
        f"{count_of(len(plan.kernels), 'kernel')} for {plan.target.name} with DeepGEMM {versions.deep_gemm}, "
        f"torch {versions.torch}, nvcc {versions.nvcc}"
    )
