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
    _warn_of_clash(name)
    if as_json:
        print_json({"files": [str(path) for path in files]})
        return
    for path in files:
        echo(str(path))
    say(f"next: cd {files[0].parent} && pip install -e '.[test]' && pytest")


def _warn_of_clash(name: str) -> None:
    """Warn if an installed plugin offers a kernel type of the same name: a manifest would have to choose."""
    from kregistry.cli.option_values import make_registry
    from kregistry.scaffold.plugin import PluginNames

    kernel_type, registry = PluginNames.from_name(name).type, make_registry(())
    providers = [str(each.provider) for each in registry.registrations() if each.kernel_type.name == kernel_type]
    if providers:
        clash = f"{', '.join(providers)} offers a kernel type {kernel_type!r} too"
        say(f"warning: {clash}: rename yours, or choose one in the manifest (providers)")
