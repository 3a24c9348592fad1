"""kregistry stub"""

from __future__ import annotations

import sys

import click

from kregistry.cli import complete
from kregistry.cli.run_program import environment_on, run_program

#: MAX_DEVICES in kregistry/stub/cuda/stub.h.
_MAX_DEVICES = 16


@click.command(name="stub", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-t",
    "--target",
    required=True,
    envvar="KREGISTRY_TARGET",
    shell_complete=complete.targets,
    help="The GPU to show: a target's name or a YAML file.",
)
@click.option(
    "--devices",
    type=click.IntRange(1, _MAX_DEVICES),
    default=1,
    show_default=True,
    help="How many of them the command sees.",
)
@click.argument("run", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
def command(target: str, devices: int, run: tuple[str, ...]) -> None:
    """Run COMMAND on the stub GPU: a program for CUDA, on a machine without a GPU.

    Host code runs as it does with the target's GPU, kernels do nothing, and what is read back from the device is zero.
    The exit code is that of COMMAND.
    """
    with environment_on(target, devices) as environment:
        code = run_program(run, environment)
    sys.exit(code if code >= 0 else 128 - code)
