"""kregistry schema"""

from __future__ import annotations

import json
from importlib import resources

import click

from kregistry.cli.option_values import make_registry
from kregistry.cli.options import plugin_option, print_json


@click.command(name="schema")
@click.option("--output-of", metavar="COMMAND", help="The JSON Schema of what this command prints with --json.")
@click.option("--policy", is_flag=True, help="The JSON Schema of policies (trust.yaml).")
@plugin_option
def command(output_of: str | None, policy: bool, plugins: tuple[str, ...]) -> None:
    """Print the JSON Schema (draft 7) of manifests, with the dimensions of all installed kernel types."""
    from kregistry.errors import UnknownNameError
    from kregistry.manifest.schema import json_schema

    if policy:
        from kregistry.trust.policy_format import policy_schema

        print_json(policy_schema())
        return
    if output_of is not None:
        schemas = json.loads((resources.files("kregistry.cli") / "output_schemas.json").read_text())
        if output_of not in schemas:
            raise UnknownNameError("command with JSON output", output_of, tuple(schemas))
        print_json({"$schema": "http://json-schema.org/draft-07/schema#", **schemas[output_of]})
        return
    registry = make_registry(plugins)
    print_json(json_schema([registry[name] for name in registry.names()]))
