"""kregistry monitor"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kregistry.cli.option_values import make_registry
from kregistry.cli.options import json_option, plugin_option, print_json
from kregistry.cli.output import echo, say

if TYPE_CHECKING:
    from kregistry.jit_monitor import JitEvent

#: Damaged lines that are shown.
_SHOWN = 20


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
    from kregistry.recording.manifest_building import build_manifest
    from kregistry.recording.recorded_run import recorded_target
    from kregistry.recording.recording import Recording
    from kregistry.recording.usable_calls import usable_calls

    events, damaged = read_events(log)
    recording = Recording()
    for line in damaged:
        say(f"left out: damaged line {line}")
    for event in events:
        say(str(event))
        if event.kernel_type and event.m is not None:
            recording.add(event.kernel_type, event.shape, event.m)
    without = sum(1 for event in events if not event.kernel_type)
    if without:
        say(f"{without} of {len(events)} events have no entry, because no kernel type recognises their call")
    target = recorded_target(event.target for event in events)
    kernel_types = make_registry(plugins).__getitem__
    calls, refused = usable_calls(recording.calls(), kernel_types, target)
    for reason in refused:
        say(f"left out: {reason}")
    content = build_manifest(calls, kernel_types, target, model)
    if as_json:
        print_json(content)
    else:
        echo(dump_manifest(content), nl=False)


def read_events(log: Path) -> tuple[list[JitEvent], list[str]]:
    """The events of a log, and each line that holds none, as ``FILE:LINE: reason``.

    Raises:
        StorageError: the file cannot be read.
        InputError: there is no such file, it is too large, or no line of it is an event.
    """
    from kregistry.bounded_input import lines_of, parse_json
    from kregistry.errors import InputError, StorageError, shorten
    from kregistry.jit_monitor import JitEvent

    hint = "LOG must be a file that JitMonitor(log=...) or KREGISTRY_JIT_LOG has written"
    events, damaged = [], []
    try:
        for number, line in lines_of(log):
            try:
                if line is None:
                    raise ValueError("too long")
                events.append(JitEvent.from_json(parse_json(line)))
            except (ValueError, TypeError) as error:
                reason = shorten(str(error))
                damaged.append(f"{log}:{number}: expected an event of a JIT monitor ({reason})")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f"{log}: {error.strerror}", hint) from error
    except OSError as error:
        raise StorageError.from_oserror(error, log) from error
    except ValueError as error:
        raise InputError(f"{log}: {error}", hint) from error
    if damaged and not events:
        raise InputError(damaged[0], hint)
    return events, damaged[:_SHOWN] + [f"and {len(damaged) - _SHOWN} more"] * (len(damaged) > _SHOWN)
