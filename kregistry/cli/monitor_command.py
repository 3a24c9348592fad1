"""kregistry monitor"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kregistry.cli.options import json_option, make_registry, plugin_option, print_json
from kregistry.cli.output import echo

if TYPE_CHECKING:
    from kregistry.jit_monitor import JitEvent


@click.command(name="monitor")
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--model", default="unseen", help="Name of the model in the printed manifest.")
@plugin_option
@json_option
def command(log: Path, model: str, plugins: tuple[str, ...], as_json: bool) -> None:
    """Print manifest entries for the compiles in LOG, the log file of a JIT monitor.

    The events go to standard error. Add the entries to the model's kernels.yaml, and build again.
    """
    from kregistry.manifest.writer import dump_manifest
    from kregistry.recording.recorded_run import recorded_target
    from kregistry.recording.recording import Recording

    events = read_events(log)
    recording = Recording()
    for event in events:
        click.echo(str(event), err=True)
        if event.kernel_type and event.m is not None:
            recording.add(event.kernel_type, event.shape, event.m)
    without = sum(1 for event in events if not event.kernel_type)
    if without:
        click.echo(
            f"{without} of {len(events)} events have no entry, because no kernel type recognises their call", err=True
        )
    target = recorded_target(event.target for event in events)
    content = recording.manifest(make_registry(plugins).__getitem__, target, model)
    if as_json:
        print_json(content)
    else:
        echo(dump_manifest(content), nl=False)


def read_events(log: Path) -> list[JitEvent]:
    """
    Raises:
        StorageError: the file cannot be read.
        InputError: a line is not an event.
    """
    from kregistry.errors import InputError, StorageError
    from kregistry.jit_monitor import JitEvent

    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise StorageError.from_oserror(error, log) from error
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            events.append(JitEvent.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            hint = "LOG must be a file that JitMonitor(log=...) or KREGISTRY_JIT_LOG has written"
            raise InputError(f"{log}:{number}: expected an event of a JIT monitor ({error})", hint) from error
    return events
