"""Registry: which kernel types exist and who provides them.

pluggy broadcasts, which is right for asking "who offers kernel types?" and for events, and wrong for picking one
implementation. So one hook collects :class:`KernelType` objects, and the registry picks by name.
A broken plugin never takes the host down: it is reported, with name, version and cause, and the rest works.
"""

from __future__ import annotations

import copy
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pluggy
from attrs import frozen

from kregistry import hookspecs
from kregistry.errors import PluginError, ProviderConflictError, UnknownNameError
from kregistry.hf_config.model_family import Family
from kregistry.hf_config.model_family import declaration_fault as family_fault
from kregistry.kernel_type import KernelType
from kregistry.kernel_type.declaration import declaration_fault, repeated_name

if TYPE_CHECKING:
    from kregistry.recording.recording import Recording
    from kregistry.serving import Dispatch

ENTRY_POINT_GROUP = "kregistry"


@frozen
class Provider:
    """Who provides a kernel type: a plugin, and the distribution that it came with."""

    plugin: str
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """``"(DISTRIBUTION VERSION)"``"""
        return f"({self.distribution} {self.version})" if self.version else f"({self.distribution})"

    def __str__(self) -> str:
        return f"{self.plugin} {self.origin}"


@frozen
class Registration:
    """A kernel type and its provider."""

    kernel_type: KernelType
    provider: Provider


class Registry:
    """The kernel types of all plugins, and the relay of events.

    Args:
        choices: kernel type -> plugin name, where two plugins offer the same kernel type.
        load_entry_points: whether to load installed plugins.
    """

    def __init__(self, choices: Mapping[str, str] = MappingProxyType({}), *, load_entry_points: bool = True) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._events = _OneAtATime(self._manager.hook)
        self._choices = dict(choices)
        self._registrations: dict[str, list[Registration]] = {}
        self._chosen: dict[str, KernelType] = {}
        self._dispatch: Dispatch | None = None
        self._broken: list[PluginError] = []
        self._providers: list[Provider] = []
        self._families: list[Family] = []
        if load_entry_points:
            origins: dict[object, tuple[str, str]] = {}  # a distribution reads its metadata anew each time
            for entry_point in metadata.entry_points(group=ENTRY_POINT_GROUP):
                dist = entry_point.dist
                if dist not in origins:
                    origins[dist] = (dist.name, dist.version) if dist else ("?", "?")
                self._load(entry_point, Provider(entry_point.name, *origins[dist]))

    # ---- plugins ---------------------------------------------------------------------------------------------

    @property
    def hook(self) -> Any:
        """Calls of this object's attributes are broadcast to every plugin, one at a time: no listener needs a lock."""
        return self._events

    @property
    def broken(self) -> tuple[PluginError, ...]:
        """The plugins that could not be used, and why."""
        return tuple(self._broken)

    @property
    def providers(self) -> tuple[Provider, ...]:
        return tuple(self._providers)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin of this process: a module or object with :data:`hookimpl` functions.

        Raises:
            PluginError: the plugin has a hook that does not fit its specification, or offers something else
                than kernel types.
        """
        own_name: str = getattr(plugin, "__name__", type(plugin).__name__)
        provider = Provider(name or own_name, "this process", "")
        self._register(plugin, provider)

    def listen(self, listener: object) -> None:
        """Add a listener of events that offers no kernel types."""
        self._manager.register(listener)

    def _load(self, entry_point: metadata.EntryPoint, provider: Provider) -> None:
        try:
            self._register(entry_point.load(), provider)
        except PluginError as error:
            self._broken.append(error)
        except (Exception, SystemExit) as error:  # whatever an import raises, the other plugins must go on
            where = traceback.extract_tb(error.__traceback__)[-1]
            cause = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
            self._broken.append(PluginError(*_identity(provider), f"cannot be imported: {cause}"))

    def _register(self, plugin: object, provider: Provider) -> None:
        # Two distributions may give their plugins the same name: only plugin and distribution together tell them apart.
        name = str(provider)
        if self._manager.has_plugin(name) or self._manager.is_registered(plugin):
            raise PluginError(*_identity(provider), "is already registered")
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise PluginError(*_identity(provider), " ".join(str(error).split())) from error
        try:
            kernel_types = self._offered_by(plugin, provider)
            families = self._families_of(plugin, provider)
        except PluginError:
            self._manager.unregister(plugin)
            raise
        self._providers.append(provider)
        self._chosen.clear()
        for kernel_type in kernel_types:
            # A copy: sealing changes what calling it does, in this registry only.
            registration = Registration(copy.copy(kernel_type), provider)
            self._registrations.setdefault(kernel_type.name, []).append(registration)
        self._families.extend(families)

    def _results(self, hook: str, plugin: object, provider: Provider) -> list[Any]:
        """What one plugin's implementations of a registering hook return, all in one list."""
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        results: list[Any] = []
        for offer in [each.function for each in implementations if each.plugin is plugin]:
            try:
                results.extend(offer())
            except Exception as error:
                cause = f"{type(error).__name__}: {error}"
                raise PluginError(*_identity(provider), f"{hook}() failed: {cause}") from error
        return results

    def _families_of(self, plugin: object, provider: Provider) -> list[Family]:
        families = self._results("kregistry_model_families", plugin, provider)
        for family in families:
            fault = family_fault(family)
            if fault:
                raise PluginError(*_identity(provider), fault)
        return families

    def _offered_by(self, plugin: object, provider: Provider) -> list[KernelType]:
        kernel_types = self._results("kregistry_kernel_types", plugin, provider)
        for kernel_type in kernel_types:
            fault = declaration_fault(kernel_type)
            if fault:
                raise PluginError(*_identity(provider), fault)
        repeated = repeated_name(kernel_type.name for kernel_type in kernel_types)
        if repeated:
            raise PluginError(*_identity(provider), f"kregistry_kernel_types() offers {repeated!r} twice")
        return kernel_types

    # ---- kernel types ----------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._registrations))

    def run_dimensions(self) -> tuple[str, ...]:
        """Names of all run-time dimensions, the possible keys of a manifest's ``defaults``."""
        return tuple(sorted({each.kernel_type.run_dimension.name for each in self.registrations()}))

    def registrations(self) -> tuple[Registration, ...]:
        """Every registration, clashing ones included, sorted by name."""
        return tuple(each for name in self.names() for each in self._registrations[name])

    def registration(self, name: str) -> Registration:
        """The kernel type of that name and who provides it.

        Raises:
            UnknownNameError: no plugin provides it.
            ProviderConflictError: several plugins provide it and none was chosen.
        """
        found = self._registrations.get(name)
        if not found:
            raise UnknownNameError("kernel type", name, self.names())
        choice = self._choices.get(name)
        if choice is not None:
            chosen = [each for each in found if choice in (each.provider.plugin, each.provider.distribution)]
            if not chosen:
                raise UnknownNameError(f"provider of {name}", choice, tuple(each.provider.plugin for each in found))
            found = chosen
        if len(found) > 1:
            raise ProviderConflictError(name, tuple(str(each.provider) for each in found))
        return found[0]

    def __getitem__(self, name: str) -> KernelType:
        try:
            return self._chosen[name]
        except KeyError:
            return self._chosen.setdefault(name, self.registration(name).kernel_type)

    def model_families(self) -> tuple[Family, ...]:
        """The model families of all plugins, in the order of their registration."""
        return tuple(self._families)

    def with_choices(self, choices: Mapping[str, str]) -> Registry:
        """The same registry with further choices of providers; earlier choices win."""
        self._choices = {**choices, **self._choices}
        self._chosen.clear()
        return self

    @property
    def choices(self) -> Mapping[str, str]:
        return MappingProxyType(self._choices)

    # ---- serving ---------------------------------------------------------------------------------------------

    @property
    def dispatch(self) -> Dispatch:
        """What ``registry[name](...)`` does."""
        if self._dispatch is None:
            from kregistry.serving import Dispatch  # a layer above this one: the registry is its front door

            self._dispatch = Dispatch(self)
        return self._dispatch

    def seal(self) -> Mapping[str, Callable[..., Any]]:
        """See :meth:`kregistry.serving.Dispatch.seal`."""
        return self.dispatch.seal()

    def record(self) -> AbstractContextManager[Recording]:
        """See :meth:`kregistry.serving.Dispatch.record`."""
        return self.dispatch.record()


class _OneAtATime:
    """Hook calls from several threads, in turn."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._hook, name)

        def broadcast(**arguments: Any) -> Any:
            with self._lock:
                return call(**arguments)

        return broadcast


def _identity(provider: Provider) -> tuple[str, str]:
    return provider.plugin, provider.origin
