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
from attrs import frozen

from kregistry import hookspecs
from kregistry.entry_points import Provider
from kregistry.errors import PluginError, describe_error, nearest_hint
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
        #: By ``id``, because listeners may compare equal, or raise when they are compared.
        self._members: dict[int, _Member] = {}
        self._implementations: dict[str, tuple[Implementation, ...]] = {}
        self._lock = threading.Lock()
        #: Events that are kept for listeners to come; ``None`` while events are sent at once.
        self._kept: list[tuple[str, dict[str, Any]]] | None = None
        self._keeping = threading.Lock()
        self.hook: Any = SimpleNamespace(**{name: partial(self._send, name) for name in HOOKS})

    def listen(self, listener: object, provider: Provider | None = None) -> None:
        """From now on, call the hooks of a module or object.

        Args:
            listener: those of its functions that :data:`~kregistry.hookspecs.hookimpl` marks are called.
            provider: the provider of the listener, for messages. No provider may be given twice. A listener without
                a provider must have a hook; a plugin may be empty.

        Raises:
            PluginError: it has a hook that does not exist, that has other arguments or that cannot be called with
                them, it is no object with hooks, or it listens already.
        """
        known = provider or Provider.of_this_process(listener)
        member = _Member(listener, Listener(known), named=provider is not None)
        functions = _functions_of(listener, known)
        if not functions and not member.named:
            raise known.error("has no function that is marked with kregistry.hookimpl")
        with self._lock:
            named = {each.source.provider for each in self._members.values() if each.named}
            if id(listener) in self._members or (member.named and known in named):
                raise known.error("is already registered")
            self._members[id(listener)] = member
            for hook, function, parameters in functions:
                new = Implementation(member.source, hook, function, parameters)
                self._implementations[hook] = (*self._implementations.get(hook, ()), new)

    def forget(self, listener: object) -> None:
        """Undo :meth:`listen`."""
        with self._lock:
            source = self._members.pop(id(listener)).source
            for hook, known in self._implementations.items():
                self._implementations[hook] = tuple(each for each in known if each.listener is not source)

    def functions(self, listener: object, hook: str) -> list[Callable[..., Any]]:
        """A listener's functions for a hook, for a caller that needs their return values."""
        source = self._members[id(listener)].source
        return [each.function for each in self._implementations.get(hook, ()) if each.listener is source]

    def offers(self, hook: str) -> list[tuple[Provider, Callable[..., Any]]]:
        """The functions of all listeners for a hook that returns something; called with its arguments by name."""
        return [
            (each.listener.provider, partial(_call_with, each.function, each.parameters))
            for each in self._implementations.get(hook, ())
        ]

    def hold(self) -> None:
        """Keep all events until :meth:`release`: listeners that are added meanwhile receive them too."""
        with self._keeping:
            self._kept = self._kept or []

    def release(self) -> None:
        """Send the events that were kept, in order, and each further event at once."""
        with self._keeping:
            for name, arguments in self._kept or ():
                self._deliver(name, arguments)
            self._kept = None

    def flush(self) -> None:
        """Return when every event so far is delivered.

        This takes at most 5 s, and 1 s more for each further slow listener. A warning names each slow listener, which
        receives no further event.
        """
        self._delivery.flush()

    def _send(self, name: str, /, **arguments: Any) -> None:
        if arguments.keys() != HOOKS[name]:
            raise TypeError(f"{name}() takes {sorted(HOOKS[name])}, got {sorted(arguments)}")
        if self._kept is None or not self._keep(name, arguments):
            self._deliver(name, arguments)

    def _keep(self, name: str, arguments: dict[str, Any]) -> bool:
        """Keep an event; false if events are not kept any more."""
        with self._keeping:
            if self._kept is not None:
                self._kept.append((name, arguments))
            return self._kept is not None

    def _deliver(self, name: str, arguments: dict[str, Any]) -> None:
        implementations = self._implementations.get(name)
        if implementations:
            self._delivery.put(implementations, arguments)


def _call_with(function: Callable[..., Any], parameters: tuple[str, ...], /, **arguments: Any) -> Any:
    """An implementation may omit arguments that it does not need."""
    return function(**{name: arguments[name] for name in parameters})


@frozen(eq=False)
class _Member:
    """A listener of the bus; ``named`` if its provider was given."""

    plugin: object
    source: Listener
    named: bool


def _functions_of(listener: object, provider: Provider) -> list[tuple[str, Callable[..., Any], tuple[str, ...]]]:
    """Each function of a listener, as (hook, function, names of the arguments that it takes).

    pluggy compares a plugin with all others by ``==``, which may raise. So each listener has a manager of its own.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        if listener is None or isinstance(listener, type):
            hint = "" if listener is None else "give an instance of the class"
            raise provider.error("is no module or object with hooks", hint)
        _refuse_unknown_hooks(manager, listener, provider)
        manager.register(listener, name=str(provider))
        found = [(hook, each) for hook in HOOKS for each in getattr(manager.hook, hook).get_hookimpls()]
        for hook, each in found:
            fault = _fault(hook, each)
            if fault:
                raise provider.error(f"{hook}() {fault}")
        return [(hook, each.function, tuple(each.argnames)) for hook, each in found]
    except (PluginError, KeyboardInterrupt):
        raise
    except (pluggy.PluginValidationError, ValueError) as error:
        raise provider.error(" ".join(str(error).split())) from error
    except BaseException as error:  # whatever the attributes of a plugin raise
        raise provider.error(f"its hooks cannot be read: {describe_error(error)}") from error


def _refuse_unknown_hooks(manager: pluggy.PluginManager, listener: object, provider: Provider) -> None:
    for name in dir(listener):
        options = manager.parse_hookimpl_opts(listener, name)
        hook = (options["specname"] or name) if options else ""
        if options and hook not in HOOKS and not options["optionalhook"]:
            raise provider.error(f"unknown hook {hook!r}", nearest_hint(hook, HOOKS, "hook"))


def _fault(hook: str, implementation: pluggy.HookImpl) -> str | None:
    """Why a function cannot be called like a plain function, with its arguments by name; ``None`` if it can."""
    function = implementation.function
    if implementation.wrapper or implementation.hookwrapper:
        return "is a wrapper of hooks, but no hook of kregistry can be wrapped"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "is an async function, which would never run: use a plain function"
    if inspect.isgeneratorfunction(function) and hook != "kregistry_kernel_types":
        return "is a generator function, which would never run: use a plain function"
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.KEYWORD_ONLY):
            return f"has the {parameter.kind.description} parameter {name!r}: use a plain parameter"
    return None
