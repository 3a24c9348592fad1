"""kregistry push"""

from __future__ import annotations

from pathlib import Path

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.remote_kernels import NO_ANSWER, RemoteRequest, for_each, report, request_options
from kregistry.cli.remote_options import sign_option
from kregistry.errors import InputError
from kregistry.remote.chain import Chain
from kregistry.remote.gate import TrustSettings
from kregistry.remote.location import Location
from kregistry.remote.usage import note_usage


@click.command(name="push")
@click.argument("url")
@request_options
@sign_option
def command(url: str, request: RemoteRequest, keys: tuple[Path, ...]) -> None:
    """Write the kernels of the manifest FILE (default: kernels.yaml) from the store to the remote at URL.

    With --sign, each kernel carries a signature. Without it, URL must end in ?unsigned, which says that you know that.
    """
    locations = Location.parse_some(url)
    bundle = next((each.bundle() for each in locations if each.bundle() is not None), None)
    if bundle is not None:
        hint = f"{next_command('bundle', '--tar', str(bundle))} writes it whole"
        raise InputError(f"push {bundle}: a bundle is one file, to which nothing is added", hint)
    trust = TrustSettings.read(keys=keys)
    if all(trust.writable(each).read_only for each in locations):
        names = ", ".join(each.url for each in locations)
        hint = "kernels are not signed: append ?unsigned to the URL to write them, or sign them with --sign KEY"
        raise InputError(f"remote {names} is read-only", "take ?ro away to write to it" if trust.signer else hint)
    chain = Chain.open(locations, trust, required=True, hint=NO_ANSWER, reads=False)
    plan = request.wanted()
    kernels, chain.provenance = plan.keys, plan.provenance
    missing = for_each(kernels, lambda key: chain.push(key, request.store))
    note_usage(request.store.directory, chain.use)
    hint = f"{next_command('build')} compiles the others first"
    report(kernels, missing, chain, f"are in {chain.use[0].name}", hint, request.as_json)
