"""kregistry check"""

from __future__ import annotations

import click

from kregistry.cli.option_values import Selection
from kregistry.cli.options import json_option, manifest_options, print_json
from kregistry.cli.output import echo
from kregistry.errors import count_of


@click.command(name="check")
@manifest_options
@json_option
def command(selection: Selection, as_json: bool) -> None:
    """Check the manifest FILE (default: kernels.yaml), and report every problem with line and column."""
    manifest = selection.manifest()
    counts = {model: sum(entry.model == model for entry in manifest.entries) for model in manifest.models}
    if as_json:
        print_json({"file": manifest.file, "target": manifest.target.name, "entries": counts})
        return
    for model, count in counts.items():
        echo(f"{model}: {count_of(count, 'entry')}")
    echo(f"{manifest.file} is a valid manifest for {manifest.target.name}")
