"""kregistry check"""

from __future__ import annotations

from pathlib import Path

import click

from kregistry.cli.options import json_option, make_registry, manifest_options, print_json, read_manifest


@click.command(name="check")
@manifest_options
@json_option
def command(file: Path, models: tuple[str, ...], target: str | None, plugins: tuple[str, ...], as_json: bool) -> None:
    """Check the manifest FILE (default: kernels.yaml): every problem, with line and column."""
    manifest = read_manifest(file, models, target, make_registry(plugins))
    counts = {model: sum(entry.model == model for entry in manifest.entries) for model in manifest.models}
    if as_json:
        print_json({"file": manifest.file, "target": manifest.target.name, "entries": counts})
        return
    for model, count in counts.items():
        click.echo(f"{model}: {count} entries")
    click.echo(f"{manifest.file} is a valid manifest for {manifest.target.name}")
