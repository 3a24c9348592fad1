"""What a shell can complete: kernel types, dimensions, targets, models and labels. It never fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import click
from click.shell_completion import CompletionItem

from kregistry.cli.output import escape_controls

#: What every shell takes literally. bash puts what it is offered into the command line as it is, and a label of a
#: manifest may hold anything, as in ``$(reboot)``.
_LITERAL = re.compile(r"[\w./:=@%+,][\w./:=@%+,-]*")
Completer: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completing(find: Callable[[click.Context], Iterable[tuple[str, str]]]) -> Completer:
    """A completer that offers what begins with the incomplete word; nothing if anything is wrong."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = dict(find(context))
        except Exception:  # a broken manifest or plugin must not disturb the shell
            return []
        return [
            CompletionItem(value, help=escape_controls(" ".join(help.split())))
            for value, help in found.items()
            if value.startswith(incomplete) and _LITERAL.fullmatch(value)
        ]

    return complete


def _registry() -> Any:
    from kregistry.registry import Registry

    return Registry()


def _kernel_types(context: click.Context) -> Iterable[tuple[str, str]]:
    registry = _registry()
    return [(name, registry[name].summary) for name in registry.names()]


def _targets(context: click.Context) -> Iterable[tuple[str, str]]:
    from kregistry.target import TARGETS

    return [*((name, each.device_name) for name, each in TARGETS.items()), ("detect", "the device of this machine")]


def _manifest(context: click.Context) -> Any:
    from kregistry.manifest import load_manifest
    from kregistry.report.selection import EntrySelection

    by_position = EntrySelection.parse(context.params.get("words") or ()).file  # of show
    return load_manifest(by_position or context.params.get("file") or Path("kernels.yaml"), _registry(), "h100")


def _models(context: click.Context) -> Iterable[tuple[str, str]]:
    return [(model, "") for model in _manifest(context).models]


def _words_of_show(context: click.Context) -> Iterable[tuple[str, str]]:
    """Kernel types and labels of the manifest, and dimensions with their values."""
    from kregistry.kernel_type.display import manifest_value

    for entry in _manifest(context).entries:
        yield entry.kernel_type, ""
        if entry.label:
            yield entry.label, str(entry)
        for name, value in entry.shape.shown().items():
            yield f"{name}={manifest_value(value)}", ""
        yield f"{entry.range.name}=", str(entry.range)


def _providers(context: click.Context) -> Iterable[tuple[str, str]]:
    registry = _registry()
    return [(f"{name}=", registry[name].summary) for name in registry.names()]


kernel_types = _completing(_kernel_types)
targets = _completing(_targets)
models = _completing(_models)
words_of_show = _completing(_words_of_show)
providers = _completing(_providers)
