"""A listener that writes every event down."""

from __future__ import annotations

import inspect
from typing import Any

from kregistry import hookspecs
from kregistry.hookspecs import hookimpl

#: Every event hook: those that ask for nothing in return.
EVENTS = {
    name: tuple(inspect.signature(spec).parameters)
    for name, spec in vars(hookspecs).items()
    if name.startswith("kregistry_") and inspect.signature(spec).return_annotation == "None"
}


class EventLog:
    """Listens to all events; ``calls`` holds (hook, arguments) in the order of the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def names(self) -> list[str]:
        """The hooks in the order of their calls, but those of tasks, whose order depends on the threads."""
        return [name for name, _ in self.calls if not name.startswith("kregistry_task_")]


def _listener(name: str, parameters: tuple[str, ...]) -> Any:
    """pluggy reads the names of the arguments off the signature, so each hook needs a function of its own."""
    scope: dict[str, Any] = {}
    arguments = ", ".join(parameters)
    content = ", ".join(f"{parameter!r}: {parameter}" for parameter in parameters)
    exec(f"def {name}(self, {arguments}):\n    self.calls.append(({name!r}, {{{content}}}))", scope)
    return hookimpl(scope[name])


for _name, _parameters in EVENTS.items():
    setattr(EventLog, _name, _listener(_name, _parameters))
