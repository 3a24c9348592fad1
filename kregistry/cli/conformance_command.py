"""kregistry conformance"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kregistry.cli import complete
from kregistry.cli.option_values import make_registry
from kregistry.cli.options import json_option, plugin_option, print_json
from kregistry.cli.output import echo, say

if TYPE_CHECKING:
    from kregistry.conformance.report import Record


@click.command(name="conformance")
@click.argument("names", nargs=-1, shell_complete=complete.kernel_types)
@click.option(
    "--require",
    type=click.Choice(["stub", "gpu"]),
    help="Fail, instead of skipping rules, if this machine cannot run this level or one before it.",
)
@click.option("--report", type=click.Path(path_type=Path), help="Write the outcome of each rule as JSON lines.")
@plugin_option
@json_option
def command(
    names: tuple[str, ...], require: str | None, report: Path | None, plugins: tuple[str, ...], as_json: bool
) -> None:
    """Test the kernel types NAMES (default: all installed ones) with every rule that this machine can run."""
    from kregistry.conformance.machine import Machine
    from kregistry.conformance.report import record, write_report
    from kregistry.conformance.rule import Level
    from kregistry.conformance.run import ConformanceRun
    from kregistry.errors import ConformanceError, count_of
    from kregistry.toolchain import any_torch_version

    registry = make_registry(plugins)
    registrations = {name: registry.registration(name) for name in names or registry.names()}
    any_torch_version()  # every rule that runs a kernel type needs torch
    required = Level[(require or "anywhere").upper()]
    records: list[Record] = []
    try:
        with Machine() as machine:
            started = time.monotonic()
            for done, (name, registration) in enumerate(registrations.items()):
                origin = (registration.provider.distribution, registration.provider.version)
                run = ConformanceRun(registration.kernel_type, machine, required)
                say(_progress(name, done, len(registrations), time.monotonic() - started))
                for outcome in run.outcomes():
                    records.append(record(registration.kernel_type, outcome, origin))
    finally:
        if report is not None:
            write_report(records, report)
    if as_json:
        print_json(records)
    else:
        _print(records)
    failures = tuple(f"{each['kernel_type']}: {each['reason']}" for each in records if each["outcome"] == "failed")
    if failures:
        raise ConformanceError(
            f"{count_of(len(failures), 'check')} failed",
            failures,
            "`kregistry docs conformance` has a section for each rule: what it requires, why, and how to fix it",
        )


def _progress(name: str, done: int, count: int, elapsed: float) -> str:
    """A line for each kernel type: its number, and from the second one on the time that is left."""
    from kregistry.cli.progress import clock

    left = f", about {clock(elapsed / done * (count - done))} left" if done else ""
    return f"testing {name} ({done + 1}/{count}{left})"


def _print(records: list[Record]) -> None:
    from kregistry.cli.tables import print_table
    from kregistry.conformance.report import skip_reasons, table

    print_table(
        ("kernel type", "from", ">passed", ">failed", ">skipped", ">not proved", ">known failures"), table(records)
    )
    for line in skip_reasons(records):
        echo(line)
