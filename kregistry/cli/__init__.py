"""The command line: data goes to standard output, logs and progress to standard error."""

from __future__ import annotations

import sys
from copy import copy
from importlib import import_module

import click

#: Command -> its line in --help. Each command has its own module, which is imported when the command is called.
COMMANDS = {
    "init": "Write the manifest of a model from its config.json.",
    "list": "Show kernel types, their dimensions and who provides them.",
    "check": "Check a manifest, and report every problem with line and column.",
    "plan": "Find every kernel that DeepGEMM will JIT, without a GPU.",
    "build": "Compile missing kernels in parallel, without a GPU.",
    "show": "Show which m needs which kernel, in the terminal.",
    "report": "Write a page that shows a plan and its build.",
    "warmup": "Build missing kernels, then load every kernel on this GPU.",
    "rehearse": "Run the engine itself without a GPU, and write the manifest of its calls.",
    "record": "Run a command and write a manifest that covers its DeepGEMM calls.",
    "stub": "Run a command on the stub GPU: a program for CUDA, without a GPU.",
    "monitor": "Turn the log of a JIT monitor into manifest entries.",
    "push": "Write the kernels of a manifest to a remote: S3, a directory, a web server.",
    "pull": "Copy the kernels of a manifest, or of a lock file, from a remote.",
    "lookup": "Ask whether a remote has the kernels of a manifest.",
    "bundle": "Write the kernels of a manifest into one file, a wheel, or an OCI image.",
    "gc": "Remove kernels from the store by age, size or stack.",
    "audit": "Compile some kernels again, and compare them with those that are used.",
    "keygen": "Make a key that signs kernels, and the policy that trusts it.",
    "stats": "Show what the store holds, and how it and the remotes were used.",
    "verify": "Check that every kernel is in the store and the JIT cache, intact.",
    "schema": "Print the JSON Schema of manifests, for editors.",
    "targets": "Show the GPUs that can be planned for.",
    "conformance": "Test installed kernel types with the rules of the conformance kit.",
    "new-plugin": "Write an installable plugin with one kernel type and its tests.",
    "completion": "Print the completion script of bash, zsh or fish.",
    "docs": "Print a page of the documentation.",
    "doctor": "Check this machine: what is there, what is missing, and how to fix it.",
}

EXIT_CODES = """\b
Exit codes:
  0    complete
  1    incomplete: a kernel is missing or damaged, an entry cannot be
       planned or warmed up, a lock file differs, a kernel type breaks a rule
  2    the input is wrong: manifest, option, name
  3    something is missing on this machine: CUDA torch, DeepGEMM, a compiler, a GPU
  4    a storage error: the disk is full, a file or directory cannot be read or written
  5    complete, except that DeepGEMM chooses kernels that do not compile:
       the message names the calls that would crash a server
  6    something from a remote was refused: its signature, or the policy
  70   a bug in kregistry or a plugin, with its traceback
  130  interrupted (Ctrl-C); 143 by SIGTERM, 129 by SIGHUP"""


class _LazyGroup(click.Group):
    """A group that lists its commands without importing them, and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from kregistry.cli.output import for_data_only

        command: click.Command = copy(import_module(f"kregistry.cli.{cmd_name.replace('-', '_')}_command").command)
        if command.callback is not None:
            command.callback = for_data_only(command.callback)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from kregistry.errors import UnknownNameError

            raise UnknownNameError("command", args[0], tuple(COMMANDS))
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kregistry")
def cli() -> None:
    """Plan, build and warm up the DeepGEMM kernels of a model, before a server needs them."""
    from kregistry.deep_gemm.preset import adopt_preset

    adopt_preset()


def main() -> None:
    """Entry point. A known error is shown as a message; a bug is shown with its traceback."""
    from kregistry.cli.signals import Signals

    signals = Signals()
    with signals.as_interrupts():
        code = _run()
    sys.exit(128 + signals.received if signals.received else code)


def _run() -> int:
    """Run the command; its exit code."""
    from kregistry.errors import InputError, KregistryError, StorageError, shorten

    try:
        cli(prog_name="kregistry", standalone_mode=False)
    except KregistryError as error:
        _print_error(str(error))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        _print_error("interrupted; finished work is kept, and the next run continues from there")
        return 130
    except Exception as error:
        import errno
        import traceback

        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _print_error(str(StorageError.from_oserror(error, "a file")))
            return StorageError.exit_code
        if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):  # only an input can be so
            _print_error(f"{shorten(str(error.filename))}: {error.strerror}")
            return InputError.exit_code

        traceback.print_exc()
        click.echo(
            "this is a bug in kregistry or in a plugin: please report it with `kregistry doctor --json`", err=True
        )
        return 70
    return 0


def _print_error(message: str) -> None:
    from kregistry.cli.output import say

    say(f" {message}", mark=click.style("error:", fg="red", bold=True))
