"""Options that several commands share, and the objects that they create."""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from attrs import frozen

from kregistry.cli import complete
from kregistry.cli.output import echo, say

if TYPE_CHECKING:
    from kregistry.deep_gemm.jit_cache import JitCache
    from kregistry.errors import PluginError
    from kregistry.event_bus import EventBus
    from kregistry.kernel import Kernel
    from kregistry.manifest import Manifest
    from kregistry.plan.plan import Plan
    from kregistry.registry import Registry
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


class Verbosity(Enum):
    """How much a command says on standard error, besides warnings and errors."""

    QUIET = "quiet"
    NORMAL = "normal"
    VERBOSE = "verbose"

    def report_plan(self, plan: Plan) -> None:
        """Say where a plan comes from, in a verbose command."""
        if self is Verbosity.VERBOSE and plan.fingerprint:
            made = "made by an earlier command, used again; --replan plans again" if plan.reused else "made now"
            say(f"plan {plan.fingerprint}: {made}")


@frozen
class Selection:
    """The models, target and plugins that FILE, --model, --target and --plugin select.

    Attributes:
        events: the event bus of the registry; it is there before the plugins are loaded.
        registry: loads the plugins when it is used first.
    """

    file: Path
    models: tuple[str, ...]
    target: str | None
    plugins: tuple[str, ...]

    @functools.cached_property
    def events(self) -> EventBus:
        from kregistry.event_bus import EventBus

        return EventBus()

    @functools.cached_property
    def registry(self) -> Registry:
        return make_registry(self.plugins, self.events)

    def manifest(self, default_target: str | None = None) -> Manifest:
        """The selected models of the manifest.

        Raises:
            ManifestError, InputError, StorageError, MissingRequirement: as of :func:`kregistry.load_manifest`.
        """
        from kregistry.errors import InputError, shorten
        from kregistry.manifest import load_manifest

        if not self.file.exists():
            raise InputError(f"{shorten(str(self.file))}: No such file or directory", _no_manifest(self.file))
        return load_manifest(self.file, self.registry, self.target or default_target).select(self.models)


def _no_manifest(file: Path) -> str:
    """What to do without a manifest."""
    name = shlex.quote(str(file)) if len(str(file)) <= 200 else "FILE"
    return (
        f"kregistry init --config config.json --engine sglang > {name} writes one for a model; "
        f"kregistry rehearse runs the engine itself to write it; kregistry init --example > {name} is a small one"
    )


@frozen
class Storage:
    """The directories that --store, --cache-dir and --engine name."""

    store: Store
    cache_dir: Path | None
    engine: str | None

    def cache_dir_of(self, manifest: Manifest) -> Path | None:
        """The JIT cache for a manifest, which may name an engine; ``None``: DeepGEMM's own.

        Raises:
            InputError, MissingRequirement: as of :func:`kregistry.cli.places.jit_cache_directory`.
        """
        from kregistry.cli.places import jit_cache_directory

        return jit_cache_directory(self.cache_dir, self.engine, manifest)

    def jit_cache_of(self, manifest: Manifest) -> JitCache:
        """Like :meth:`cache_dir_of`."""
        from kregistry.deep_gemm.jit_cache import JitCache

        return JitCache(self.cache_dir_of(manifest))

    def warn_of_places(self, manifest: Manifest, kernels: Iterable[Kernel], jit_cache: JitCache) -> None:
        """Warn where a server will not find kernels in this JIT cache."""
        from kregistry.cli.places import warn_of_places

        filled = list(dict.fromkeys(root for kernel in kernels for root in jit_cache.roots(kernel)))
        if filled:
            warn_of_places(filled, self.engine or manifest.engine)


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


def make_registry(plugins: tuple[str, ...], events: EventBus | None = None) -> Registry:
    """The registry with the choices of --plugin. Warns of broken plugins on standard error.

    Raises:
        InputError: an option is not of the form TYPE=PLUGIN.
        UnknownNameError, ProviderConflictError: it names no kernel type, or not one provider of it.
    """
    from kregistry.errors import InputError, quoted
    from kregistry.registry import Registry

    choices: dict[str, str] = {}
    for text in plugins:
        kernel_type, equals, plugin = text.partition("=")
        if not (kernel_type and equals and plugin):
            raise InputError(
                f"--plugin: expected TYPE=PLUGIN, got {quoted(text)}", "e.g. --plugin fp8_gemm_nt=my_plugin"
            )
        choices[kernel_type] = plugin
    registry = Registry(choices, events=events)
    warn_of_plugins(registry.broken)
    for kernel_type in choices:
        registry.registration(kernel_type)  # not every command uses every choice: a wrong name is an error in all
    return registry


def warn_of_plugins(broken: Iterable[PluginError]) -> None:
    """Report broken plugins on standard error."""
    for error in broken:
        say(f"warning: {error}")


def print_json(content: Any) -> None:
    echo(json.dumps(content, indent=1))
