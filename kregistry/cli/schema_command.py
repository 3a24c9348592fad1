"""kregistry schema"""

from __future__ import annotations

import click

from kregistry.cli.options import make_registry, plugin_option, print_json


@click.command(name="schema")
@plugin_option
def command(plugins: tuple[str, ...]) -> None:
    """Print the JSON Schema (draft 7) of manifests, with the dimensions of all installed kernel types."""
    from kregistry.manifest.schema import json_schema

    registry = make_registry(plugins)
    print_json(json_schema([registry[name] for name in registry.names()]))
