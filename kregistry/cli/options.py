"""Options that several commands share."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from kregistry.cli import complete
from kregistry.cli.option_values import Selection, Storage, Verbosity
from kregistry.cli.output import echo

if TYPE_CHECKING:
    from kregistry.store import Store

Command: TypeAlias = Callable[..., Any]

#: kregistry.manifest.format.ENGINES, whose module takes longer to import than most commands.
_ENGINES = ("sglang", "vllm")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")
allow_broken_option = click.option(
    "--allow-broken", is_flag=True, help="Report kernels that do not compile as warnings, and exit 0."
)
replan_option = click.option("--replan", is_flag=True, help="Plan again, even if the store keeps a plan that is valid.")
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="TYPE=PLUGIN",
    shell_complete=complete.providers,
    help="Use PLUGIN for the kernel type TYPE, if two plugins offer it.",
)
jobs_option = click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Number of parallel compilers (default: one per core)."
)
_STORE_OPTION = click.option(
    "--store",
    "store_directory",
    type=click.Path(path_type=Path),
    envvar="KREGISTRY_STORE",
    help="Directory of compiled kernels (also: KREGISTRY_STORE).",
)


def manifest_options(command: Command) -> Command:
    """Add FILE, --model, --target and --plugin; the command receives ``selection``, with all plugins loaded."""
    return selection_options(_FILE)(command)


def unloaded_manifest_options(command: Command) -> Command:
    """The same, but plugins are loaded, and --plugin is checked, when the command uses the registry first."""
    return _with_selection(_FILE, False, command)


def selection_options(file: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Add an argument or option ``file``, --model, --target and --plugin; the command receives ``selection``."""
    return functools.partial(_with_selection, file, True)


_FILE = click.argument("file", type=click.Path(path_type=Path), default=Path("kernels.yaml"))


def _with_selection(file_option: Callable[[Command], Command], loaded: bool, command: Command) -> Command:
    @functools.wraps(command)
    def with_selection(
        *, file: Path, models: tuple[str, ...], target: str | None, plugins: tuple[str, ...], **rest: Any
    ) -> Any:
        selection = Selection(file, models, target, plugins)
        if loaded:  # not every command uses the registry, but a wrong --plugin is an error in all
            selection.registry  # noqa: B018
        return command(selection=selection, **rest)

    return _with_options(
        with_selection,
        file_option,
        click.option(
            "-m",
            "--model",
            "models",
            multiple=True,
            shell_complete=complete.models,
            help="Only this model (can be repeated).",
        ),
        click.option(
            "-t",
            "--target",
            envvar="KREGISTRY_TARGET",
            shell_complete=complete.targets,
            help="A target's name, 'detect', or a YAML file (default: the manifest's).",
        ),
        plugin_option,
    )


def store_option(command: Command) -> Command:
    """Add --store; the command receives ``store``."""

    @functools.wraps(command)
    def with_store(*, store_directory: Path | None, **rest: Any) -> Any:
        return command(store=_store(store_directory), **rest)

    return _with_options(with_store, _STORE_OPTION)


def _store(directory: Path | None) -> Store:
    from kregistry.errors import InputError
    from kregistry.store import Store

    if directory and re.match(r"\w+:/", str(directory)):  # Path has made one slash of two
        raise InputError(f"--store {directory}: the store is a directory on this machine", "--remote names a URL")

    return Store(directory) if directory else Store.default()


def storage_options(command: Command) -> Command:
    """Add --store, --cache-dir and --engine; the command receives ``storage``."""

    @functools.wraps(command)
    def with_storage(*, store_directory: Path | None, cache_dir: Path | None, engine: str | None, **rest: Any) -> Any:
        return command(storage=Storage(_store(store_directory), cache_dir, engine), **rest)

    return _with_options(
        with_storage,
        _STORE_OPTION,
        click.option(
            "--cache-dir",
            type=click.Path(path_type=Path),
            help="DeepGEMM's JIT cache (default: the one that DeepGEMM itself uses).",
        ),
        click.option(
            "--engine",
            type=click.Choice(_ENGINES),
            help="Use the JIT cache that a server of this engine will read (default: the manifest's engine).",
        ),
    )


def front_end_options(command: Command) -> Command:
    """Add --no-shared-front-end and --paranoid; the command receives ``shared_front_end`` and ``paranoid``."""

    @functools.wraps(command)
    def with_front_end(*, no_shared_front_end: bool, **rest: Any) -> Any:
        return command(shared_front_end=False if no_shared_front_end else None, **rest)

    return _with_options(
        with_front_end,
        click.option(
            "--no-shared-front-end",
            is_flag=True,
            help="Run one nvcc for each kernel (also: KREGISTRY_NO_SHARED_FRONT_END=1).",
        ),
        click.option(
            "--paranoid",
            is_flag=True,
            help="Compare every kernel of a shared front end with the one that nvcc compiles alone.",
        ),
    )


def verbosity_options(command: Command) -> Command:
    """Add -q and -v; the command receives ``verbosity``."""

    @functools.wraps(command)
    def with_verbosity(*, quiet: bool, verbose: bool, **rest: Any) -> Any:
        if quiet and verbose:
            raise click.UsageError("-q and -v exclude each other")
        verbosity = Verbosity.QUIET if quiet else Verbosity.VERBOSE if verbose else Verbosity.NORMAL
        return command(verbosity=verbosity, **rest)

    return _with_options(
        with_verbosity,
        click.option("-q", "--quiet", is_flag=True, help="Show no progress; warnings and errors are still printed."),
        click.option("-v", "--verbose", is_flag=True, help="Also show each kernel, and which plan is used."),
    )


def _with_options(command: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def print_json(content: Any) -> None:
    echo(json.dumps(content, indent=1))
