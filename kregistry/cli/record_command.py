"""kregistry record"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kregistry.cli.option_values import make_registry
from kregistry.cli.options import plugin_option
from kregistry.cli.output import echo, say
from kregistry.cli.output_file import check_output, force_option, with_digest, write_or_rescue
from kregistry.cli.run_program import environment_on, run_program

if TYPE_CHECKING:
    from kregistry.recording.recorded_run import RecordedRun


@click.command(name="record", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("recorded.yaml"),
    help="File to write; - is standard output.",
)
@force_option
@click.option("--model", default="recorded", help="Name of the model in the manifest.")
@click.option(
    "--stub", "target", metavar="TARGET", help="Run the command on the stub GPU as this target; no GPU is needed."
)
@plugin_option
@click.argument("run", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
def command(
    output: Path, force: bool, model: str, target: str | None, plugins: tuple[str, ...], run: tuple[str, ...]
) -> None:
    """Run COMMAND, and write a manifest that covers every DeepGEMM call of its Python processes.

    End a server with Ctrl-C; the manifest is then written.
    """
    from kregistry.errors import IncompleteError, InputError
    from kregistry.manifest.targets import named_target
    from kregistry.manifest.writer import dump_manifest
    from kregistry.recording.manifest_building import build_manifest
    from kregistry.recording.recorded_run import RecordedRun
    from kregistry.recording.usable_calls import usable_calls
    from kregistry.scratch import scratch_directory
    from kregistry.toolchain import require_deep_gemm

    check_output(output, force)
    with scratch_directory("record") as directory, environment_on(target) as environment:
        code = run_recorded(run, directory, environment)
        recorded = RecordedRun(directory)
    for function, problem in recorded.problems.items():
        say(f"not recorded: {function}: {problem}")
    for damaged in recorded.damaged:
        say(f"not recorded: damaged line {damaged}")
    calls = recorded.recording.calls()
    if not calls:
        require_deep_gemm()  # if DeepGEMM is missing here, that is the most likely cause
        raise InputError(
            f"the command made no DeepGEMM call (exit code {code})",
            "the command must run Python, with kregistry installed and without -I, -E or -S",
        )
    shown = named_target(target) if target else None
    where = shown or recorded.target
    kernel_types = make_registry(plugins).__getitem__
    usable, refused = usable_calls(calls, kernel_types, where)
    for reason in refused:
        say(f"not recorded: {reason}")
    content = build_manifest(usable, kernel_types, where, model)
    _write(output, dump_manifest(content))
    _summarise(recorded, output, len(content["models"][model]["kernels"]))
    if code not in (0, 130, -2):
        raise IncompleteError(f"the command ended with exit code {code}; the manifest covers its calls up to then")


def run_recorded(command: tuple[str, ...], directory: Path, base: Mapping[str, str]) -> int:
    """Run a command whose Python processes record their calls in ``directory``, and return its exit code.

    ``base`` is its environment, without what recording adds.

    Raises:
        InputError: it cannot be started.
    """
    from kregistry import recording

    child = str(Path(recording.__file__).with_name("recorded_process"))
    path = os.pathsep.join(part for part in (child, base.get("PYTHONPATH")) if part)
    return run_program(command, {**base, "PYTHONPATH": path, "KREGISTRY_RECORD": str(directory)})


def _write(output: Path, text: str) -> None:
    if str(output) == "-":
        echo(text, nl=False)
    else:
        write_or_rescue(output, with_digest(text))


def _summarise(recorded: RecordedRun, output: Path, entries: int) -> None:
    calls = recorded.recording.calls()
    values = sum(len(each.values) for each in calls)
    where = "" if str(output) == "-" else f" -> {output}"
    say(
        f"{len(calls)} call sites with {values} run-time values in {recorded.processes} processes: "
        f"{entries} entries{where}"
    )
