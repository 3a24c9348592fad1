"""kregistry lookup"""

from __future__ import annotations

from pathlib import Path

import click

from kregistry.cli.options import (
    Selection,
    Verbosity,
    json_option,
    manifest_options,
    store_option,
    verbosity_options,
)
from kregistry.cli.remote_kernels import for_each, lock_option, report, wanted_kernels
from kregistry.remote.chain import Chain
from kregistry.remote.location import Location
from kregistry.store import Store


@click.command(name="lookup")
@click.argument("url")
@manifest_options
@lock_option
@store_option
@verbosity_options
@json_option
def command(
    url: str, selection: Selection, lock: Path | None, store: Store, verbosity: Verbosity, as_json: bool
) -> None:
    """Ask whether the remote at URL has the kernels of the manifest FILE (default: kernels.yaml). Loads none.

    With --lock, nothing is planned, and neither torch nor DeepGEMM is needed.
    """
    chain = Chain.open(Location.parse_all(url), required=True)
    kernels = wanted_kernels(selection, lock, verbosity, store)
    missing = for_each(kernels, chain.has)
    report(kernels, missing, chain, f"are in {chain.use[0].name}", "kregistry push adds them", as_json)
