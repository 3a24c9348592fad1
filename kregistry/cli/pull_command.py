"""kregistry pull"""

from __future__ import annotations

from pathlib import Path

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.options import (
    Selection,
    Verbosity,
    json_option,
    manifest_options,
    store_option,
    verbosity_options,
)
from kregistry.cli.remote_kernels import NO_ANSWER, for_each, lock_option, report, wanted_kernels
from kregistry.remote.chain import Chain
from kregistry.remote.location import Location
from kregistry.store import Store
from kregistry.store.store import DamagedEntry


@click.command(name="pull")
@click.argument("url")
@manifest_options
@lock_option
@store_option
@verbosity_options
@json_option
def command(
    url: str, selection: Selection, lock: Path | None, store: Store, verbosity: Verbosity, as_json: bool
) -> None:
    """Copy the kernels of the manifest FILE (default: kernels.yaml) from the remote at URL into the store.

    With --lock, nothing is planned, and neither torch nor DeepGEMM is needed.
    """
    chain = Chain.open(Location.parse_some(url), required=True, hint=NO_ANSWER)
    store.open()
    kernels = wanted_kernels(selection, lock, verbosity, store)
    missing = for_each(kernels, lambda key: _in_place(key, store) or chain.fetch(key, store))
    hint = f"{next_command('build')} compiles the others"
    report(kernels, missing, chain, f"are in {store.directory}", hint, as_json)


def _in_place(key: str, store: Store) -> bool:
    try:
        return store.get(key) is not None
    except DamagedEntry:
        store.discard(key)
        return False
