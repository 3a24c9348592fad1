"""kregistry new-plugin"""

from __future__ import annotations

from pathlib import Path

import click

from kregistry.cli.options import json_option, print_json
from kregistry.cli.output import echo, say


@click.command(name="new-plugin")
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Where to create it (default: the current directory).",
)
@json_option
def command(name: str, directory: Path, as_json: bool) -> None:
    """Write an installable plugin with one kernel type, named after NAME (e.g. my-gemm), and its tests."""
    from kregistry.scaffold import write_plugin

    files = write_plugin(name, directory)
    if as_json:
        print_json({"files": [str(path) for path in files]})
        return
    for path in files:
        echo(str(path))
    say(f"next: cd {files[0].parent} && pip install -e '.[test]' && pytest")
