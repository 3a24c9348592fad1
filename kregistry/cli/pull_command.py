"""kregistry pull"""

from __future__ import annotations

import functools

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.remote_kernels import NO_ANSWER, RemoteRequest, for_each, raise_rejections, report, request_options
from kregistry.cli.remote_options import trust_options
from kregistry.remote.chain import Chain
from kregistry.remote.gate import TrustSettings
from kregistry.remote.location import Location
from kregistry.remote.usage import note_usage
from kregistry.store import Store, packed
from kregistry.store.packed import PackedKernel
from kregistry.store.store import DamagedEntry

_REFUSED = "nothing was written: kregistry docs security says what each reason means"


@click.command(name="pull")
@click.argument("url")
@request_options
@functools.partial(trust_options, signs=False)
def command(url: str, request: RemoteRequest, trust: TrustSettings) -> None:
    """Copy the kernels of the manifest FILE (default: kernels.yaml) from the remote at URL into the store.

    With --lock, nothing is planned, and neither torch nor DeepGEMM is needed. If one kernel is refused because of its
    signature, none is written.
    """
    locations, store = Location.parse_some(url), request.store
    chain = Chain.open(locations, trust.of_store(store.directory), required=True, hint=NO_ANSWER)
    kernels = request.wanted().keys
    received: dict[str, PackedKernel] = {}
    absent = for_each(kernels, lambda key: _in_place(key, store))
    missing = for_each({name: kernels[name] for name in absent}, lambda key: _receive(key, chain, received))
    raise_rejections(chain, (kernels[name] for name in missing), _REFUSED, request.as_json)
    store.open()
    for_each({key: key for key in received}, lambda key: _add(received[key], store))
    chain.remember()
    note_usage(store.directory, chain.use, found=len(kernels) - len(absent), missed=len(absent))
    hint = f"{next_command('build')} compiles the others"
    report(kernels, missing, chain, f"are in {store.directory}", hint, request.as_json)


def _receive(key: str, chain: Chain, received: dict[str, PackedKernel]) -> bool:
    kernel = chain.receive(key)
    if kernel is not None:
        received[key] = kernel
    return kernel is not None


def _add(kernel: PackedKernel, store: Store) -> bool:
    """Many at once: each is flushed to disk."""
    if not _in_place(kernel.key, store):
        store.discard_damaged(kernel.key)
    packed.add(store, kernel)
    return True


def _in_place(key: str, store: Store) -> bool:
    try:
        found = store.get(key) is not None
        store.note_use(key)
        return found
    except DamagedEntry:
        return False
