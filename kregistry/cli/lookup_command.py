"""kregistry lookup"""

from __future__ import annotations

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.remote_kernels import NO_ANSWER, RemoteRequest, for_each, report, request_options
from kregistry.remote.chain import Chain
from kregistry.remote.location import Location


@click.command(name="lookup")
@click.argument("url")
@request_options
def command(url: str, request: RemoteRequest) -> None:
    """Ask whether the remote at URL has the kernels of the manifest FILE (default: kernels.yaml). Loads none.

    With --lock, nothing is planned, and neither torch nor DeepGEMM is needed.
    """
    locations = Location.parse_some(url)
    chain = Chain.open(locations, required=True, hint=NO_ANSWER, reads=False)
    kernels = request.wanted().keys
    missing = for_each(kernels, chain.has)
    hint = f"{_filling(locations[0])} adds them" if locations else ""
    report(kernels, missing, chain, f"are in {', '.join(each.name for each in chain.use)}", hint, request.as_json)


def _filling(location: Location) -> str:
    """The command that puts the kernels there. The URL is shown without user name and password."""
    if location.wheel() is not None:
        return next_command("bundle", "--wheel", f"{location.wheel()}-VERSION-py3-none-any.whl")
    if location.bundle() is not None:
        return next_command("bundle", "--tar", str(location.bundle()))
    return next_command("push", f"{location.url}?unsigned")
