"""What the options of several commands select: models and plugins, directories, and how much is said."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from kregistry.cli.output import say

if TYPE_CHECKING:
    from kregistry.deep_gemm.jit_cache import JitCache
    from kregistry.errors import PluginError
    from kregistry.event_bus import EventBus
    from kregistry.kernel import Kernel
    from kregistry.manifest import Manifest
    from kregistry.plan.plan import Plan
    from kregistry.registry import Registry
    from kregistry.store import Store


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
