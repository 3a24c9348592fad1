"""The event bus: checks plugins and other listeners against the hooks, and sends events to them.

pluggy reads and checks the implementations of hooks. It does not call them: it would call them in the sender's thread,
and raise their errors in the sender's code.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pluggy

from kregistry import hookspecs
from kregistry.entry_points import Provider
from kregistry.errors import nearest_hint
from kregistry.event_delivery import Delivery, Implementation, Listener

#: Every hook, with the names of its arguments.
HOOKS = {
    name: frozenset(inspect.signature(function).parameters)
    for name, function in vars(hookspecs).items()
    if name.startswith("kregistry_")
}


class EventBus:
    """The listeners, and the queue through which events reach them.

    Attributes:
        hook: ``bus.hook.kregistry_sealed(kernel_types=...)`` sends an event to all listeners, and returns at once.

    Args:
        delivery: how events are delivered.
    """

    def __init__(self, delivery: Delivery | None = None) -> None:
        self._delivery = delivery or Delivery()
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._implementations: dict[str, tuple[Implementation, ...]] = {}
        self._lock = threading.Lock()
        self.hook: Any = SimpleNamespace(**{name: partial(self._send, name) for name in HOOKS})

    def listen(self, listener: object, provider: Provider | None = None) -> None:
        """From now on, call the hooks of a module or object.

        Args:
            listener: those of its functions that :data:`~kregistry.hookspecs.hookimpl` marks are called.
            provider: the provider of the listener, for messages. No provider may be given twice.

        Raises:
            PluginError: it has a hook that does not exist or that has other arguments, or it listens already.
        """
        known = provider or Provider.of_this_process(listener)
        name = str(known) if provider else f"{known} {id(listener):#x}"
        if self._manager.has_plugin(name) or self._manager.is_registered(listener):
            raise known.error("is already registered")
        self._refuse_unknown_hooks(listener, known)
        try:
            self._manager.register(listener, name=name)
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise known.error(" ".join(str(error).split())) from error
        source = Listener(known)
        with self._lock:
            for caller in self._manager.get_hookcallers(listener) or ():
                own = (each for each in caller.get_hookimpls() if each.plugin is listener)
                new = (Implementation(source, caller.name, each.function, tuple(each.argnames)) for each in own)
                self._implementations[caller.name] = (*self._implementations.get(caller.name, ()), *new)

    def forget(self, listener: object) -> None:
        """Undo :meth:`listen`."""
        functions = {each.function for caller in HOOKS for each in self._own(listener, caller)}
        self._manager.unregister(listener)
        with self._lock:
            for hook, known in self._implementations.items():
                self._implementations[hook] = tuple(each for each in known if each.function not in functions)

    def functions(self, listener: object, hook: str) -> list[Callable[..., Any]]:
        """A listener's functions for a hook, for a caller that needs their return values."""
        return [each.function for each in self._own(listener, hook)]

    def flush(self) -> None:
        """Return when every event so far is delivered.

        This takes at most 5 s, and 1 s more for each further slow listener. A warning names each slow listener, which
        receives no further event.
        """
        self._delivery.flush()

    def _own(self, listener: object, hook: str) -> list[pluggy.HookImpl]:
        return [each for each in getattr(self._manager.hook, hook).get_hookimpls() if each.plugin is listener]

    def _refuse_unknown_hooks(self, listener: object, provider: Provider) -> None:
        for name in dir(listener):
            options = self._manager.parse_hookimpl_opts(listener, name)
            hook = (options["specname"] or name) if options else ""
            if options and hook not in HOOKS and not options["optionalhook"]:
                raise provider.error(f"unknown hook {hook!r}", nearest_hint(hook, HOOKS, "hook"))

    def _send(self, name: str, /, **arguments: Any) -> None:
        if arguments.keys() != HOOKS[name]:
            raise TypeError(f"{name}() takes {sorted(HOOKS[name])}, got {sorted(arguments)}")
        implementations = self._implementations.get(name)
        if implementations:
            self._delivery.put(implementations, arguments)
