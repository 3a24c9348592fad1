"""The command that a hint names: it goes on with the file and the options of the command that runs now."""

from __future__ import annotations

import shlex
from typing import Any

import click

from kregistry.cli.output import escape_controls

#: Parameters that say what is meant and where it is. Others, such as --json, do not decide what the next command does.
_CARRIED = ("file", "lock", "models", "target", "plugins", "store_directory", "cache_dir", "engine")


def next_command(name: str, *words: str, **given: object) -> str:
    """``kregistry build small.yaml --engine sglang``: a command with what the user gave to the command that runs now.

    Only what stands on the command line is repeated: a variable holds for the next command as well.

    Args:
        name: the next command.
        words: its further arguments: operands, which come before FILE, then options.
        given: parameters that are given in place of those of the command line; ``None`` leaves one out.
    """
    here = click.get_current_context(silent=True)
    line = ["kregistry", name]
    if here is None:
        return shlex.join([*line, *words])
    command = here.find_root().command
    following = command.get_command(here, name) if isinstance(command, click.Group) else None
    accepted = {each.name: each for each in following.params} if following is not None else {}
    carried = [each for each in here.command.params if _means_the_same(each, accepted.get(each.name))]
    if any(each.name == "lock" and _given(here, "lock") is not None for each in carried):
        given = {"file": None, "models": None, "target": None, **given}  # a lock file says them all
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    operands, options = list(words[:first]), list[str]()
    for parameter in carried:
        parameter_name = parameter.name or ""
        value = given[parameter_name] if parameter_name in given else _given(here, parameter_name)
        for each in value if isinstance(value, tuple) else () if value is None else (value,):
            wanted = accepted[parameter_name]
            if not isinstance(wanted, click.Argument):
                options.append(max(wanted.opts, key=len))
            (operands if isinstance(wanted, click.Argument) else options).append(str(each))
    return escape_controls(shlex.join([*line, *operands, *options, *words[first:]]))


def _means_the_same(here: click.Parameter, there: click.Parameter | None) -> bool:
    """Whether a parameter is repeated. ``--check`` of plan shares a name with ``--lock``, and not the meaning."""
    if there is None or here.name not in _CARRIED:
        return False
    return here.name == "file" or here.opts == there.opts != ["--check"]


def _given(context: click.Context, name: str) -> Any:
    source = context.get_parameter_source(name)
    return context.params.get(name) if source is click.core.ParameterSource.COMMANDLINE else None
