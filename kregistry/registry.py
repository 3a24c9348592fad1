"""Registry: the kernel types that exist, and their providers.

The registry collects :class:`KernelType` objects from all plugins through one hook, and looks them up by name.
A broken plugin never stops the host program: it is reported with name, version and cause, and all others are used.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from attrs import frozen

from kregistry.entry_points import Provider, load_group, note_of_missing_plugins
from kregistry.errors import InputError, PluginError, ProviderConflictError, UnknownNameError, describe_error, place_of
from kregistry.event_bus import EventBus
from kregistry.kernel_type import KernelType
from kregistry.kernel_type.declaration import declaration_fault

ENTRY_POINT_GROUP = "kregistry"


@frozen
class Registration:
    """A kernel type and its provider."""

    kernel_type: KernelType
    provider: Provider


class Registry:
    """The kernel types of all plugins, and their event bus.

    Attributes:
        events: the event bus, which holds the listeners.

    Args:
        choices: kernel type -> plugin name, where two plugins offer the same kernel type.
        load_entry_points: whether to load installed plugins.
        events: default: a new event bus.
    """

    def __init__(
        self,
        choices: Mapping[str, str] = MappingProxyType({}),
        *,
        load_entry_points: bool = True,
        events: EventBus | None = None,
    ) -> None:
        self.events = events or EventBus()
        self._choices = dict(choices)
        self._registrations: dict[str, list[Registration]] = {}
        #: What was looked up, for callers that look a kernel type up for every call. Each view has its own.
        self._chosen: dict[str, KernelType] = {}
        self._views: weakref.WeakSet[Registry] = weakref.WeakSet((self,))
        self._broken: list[PluginError] = []
        # Looked up once, for the views too: a manifest may hold thousands of unknown names.
        self._note_of_missing_plugins = cache(
            lambda: note_of_missing_plugins(ENTRY_POINT_GROUP) if load_entry_points else ""
        )
        self._providers: list[Provider] = []
        #: The object that decides what the kernel types call; views share the list, as they share the kernel types.
        self._binder: list[weakref.ref[object]] = []
        if load_entry_points:
            for provider, plugin in load_group(ENTRY_POINT_GROUP):
                try:
                    if isinstance(plugin, PluginError):
                        raise plugin
                    self._broken += self._register(plugin, provider)
                except PluginError as error:
                    self._broken.append(error)

    def choosing(self, choices: Mapping[str, str]) -> Registry:
        """A view of this registry with further choices of providers; earlier choices take precedence.

        The view shares plugins, kernel types and listeners with this registry, including those added later. This
        registry does not change.
        """
        view = copy.copy(self)
        view._choices = {**choices, **self._choices}
        view._chosen = {}
        self._views.add(view)
        return view

    def bound_by(self, binder: object) -> None:
        """Note which object binds the kernel types, for as long as it lives.

        Raises:
            InputError: another object does so already, for this registry or for a view of it.
        """
        if any(each() not in (None, binder) for each in self._binder):
            raise InputError(
                "a Dispatch for the kernel types of this registry, or of a view of it, exists already: two would "
                "undo each other's bindings",
                "keep one Dispatch, made for the view that serves; or load the plugins again: kregistry.Registry()",
            )
        self._binder[:] = [weakref.ref(binder)]

    # ---- plugins ---------------------------------------------------------------------------------------------

    @property
    def hook(self) -> Any:
        """Sends events; see :class:`~kregistry.event_bus.EventBus`."""
        return self.events.hook

    @property
    def broken(self) -> tuple[PluginError, ...]:
        """One error for each plugin that could not be used."""
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
        self._register(plugin, Provider.of_this_process(plugin, name), whole=True)

    def listen(self, listener: object) -> None:
        """Add a listener of events that offers no kernel types.

        Raises:
            PluginError: it has a hook that does not exist or that has other arguments, or it listens already.
        """
        self.events.listen(listener)

    def _register(self, plugin: object, provider: Provider, *, whole: bool = False) -> list[PluginError]:
        """Add a plugin, and return an error for each of its kernel types that cannot be used.

        Args:
            whole: whether one such kernel type refuses the plugin. A plugin without any usable one is always refused.

        Raises:
            PluginError: nothing of the plugin was added; whatever its code raises becomes this error.
        """
        try:
            self.events.listen(plugin, provider)
            try:
                registrations, faults = self._offered_by(plugin, provider)
                if faults and (whole or not registrations):
                    raise faults[0]
            except BaseException:
                self.events.forget(plugin)
                raise
        except (PluginError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise provider.error(f"cannot be used: {describe_error(error)} ({place_of(error)})") from error
        self._providers.append(provider)
        for name, registration in registrations.items():
            self._registrations.setdefault(name, []).append(registration)
        for view in tuple(self._views):
            view._chosen = {}  # a second provider of a name is a conflict from now on
        return faults

    def _offered_by(self, plugin: object, provider: Provider) -> tuple[dict[str, Registration], list[PluginError]]:
        """The usable kernel types of a plugin, and an error for each of the others."""
        kernel_types: list[KernelType] = []
        for offer in self.events.functions(plugin, "kregistry_kernel_types"):
            try:
                kernel_types.extend(offer())
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                raise provider.error(f"kregistry_kernel_types() failed: {describe_error(error)}") from error
        registrations: dict[str, Registration] = {}
        faults: list[PluginError] = []
        twice: set[str] = set()
        for kernel_type in kernel_types:
            try:
                own = _own_copy(kernel_type, provider)
                if own.name in registrations or own.name in twice:
                    twice.add(own.name)
                    raise provider.error(f"kregistry_kernel_types() offers {own.name!r} twice")
            except PluginError as error:
                faults.append(error)
            else:
                registrations[own.name] = Registration(own, provider)
        return {name: each for name, each in registrations.items() if name not in twice}, faults

    # ---- kernel types ----------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._registrations))

    def run_dimensions(self) -> tuple[str, ...]:
        """Names of all run-time dimensions, the possible keys of a manifest's ``defaults``."""
        return tuple(sorted({each.kernel_type.run_dimension.name for each in self.registrations()}))

    def registrations(self) -> tuple[Registration, ...]:
        """Every registration, sorted by name; a name that several plugins provide occurs several times."""
        return tuple(each for name in self.names() for each in self._registrations[name])

    def registration(self, name: str) -> Registration:
        """The kernel type of that name, with its provider.

        Raises:
            UnknownNameError: no plugin provides it.
            ProviderConflictError: several plugins provide it and none was chosen.
        """
        found = self._registrations.get(name)
        if not found:
            raise UnknownNameError("kernel type", name, self.names(), self._note_of_missing_plugins(), self._unread())
        choice = self._choices.get(name)
        if choice is not None:
            chosen = [each for each in found if choice in (each.provider.plugin, each.provider.distribution)]
            if not chosen:
                raise UnknownNameError(f"provider of {name}", choice, tuple(each.provider.plugin for each in found))
            found = chosen
        if len(found) > 1:
            raise ProviderConflictError(name, tuple(str(each.provider) for each in found))
        return found[0]

    def _unread(self) -> str:
        """Which plugins may offer what nobody else does."""
        broken = list(dict.fromkeys(each.plugin for each in self._broken))
        return f"a plugin that could not be loaded may provide it: {', '.join(broken)}" if broken else ""

    def __getitem__(self, name: str) -> KernelType:
        """The kernel type of that name.

        Raises:
            UnknownNameError, ProviderConflictError: as of :meth:`registration`.
        """
        try:
            return self._chosen[name]  # one look-up, since some callers look a kernel type up for every call
        except KeyError:
            return self._chosen.setdefault(name, self.registration(name).kernel_type)

    @property
    def choices(self) -> Mapping[str, str]:
        return MappingProxyType(self._choices)


def _own_copy(kernel_type: KernelType, provider: Provider) -> KernelType:
    """A copy for one registry, because sealing changes what a call of it does, in this registry only.

    Raises:
        PluginError: the kernel type, or its copy, is declared wrongly.
    """
    _refuse(declaration_fault(kernel_type), provider)
    own = copy.copy(kernel_type)
    _refuse(declaration_fault(own), provider)
    return own


def _refuse(fault: str | None, provider: Provider) -> None:
    if fault:
        raise provider.error(fault)
