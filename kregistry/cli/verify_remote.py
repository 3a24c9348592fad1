"""kregistry verify --remote: the signatures and the content of the kernels of a remote."""

from __future__ import annotations

from pathlib import Path

from kregistry.cli.next_command import next_command
from kregistry.cli.option_values import Selection, Verbosity
from kregistry.cli.remote_kernels import NO_ANSWER, for_each, raise_rejections, report, wanted
from kregistry.remote.chain import Chain
from kregistry.remote.gate import TrustSettings
from kregistry.remote.location import Location
from kregistry.store import Store


def verify_remote(
    url: str,
    selection: Selection,
    lock: Path | None,
    store: Store,
    trust: TrustSettings,
    verbosity: Verbosity,
    as_json: bool,
) -> None:
    """Read every kernel from a remote, check its signature and its content, and keep none.

    Raises:
        TrustError: something is refused.
        IncompleteError: kernels are missing.
        KregistryError: the remote does not answer, or a file is wrong.
    """
    chain = Chain.open(Location.parse_some(url), trust.of_store(store.directory), required=True, hint=NO_ANSWER)
    kernels = wanted(selection, lock, verbosity, store).keys
    missing = for_each(kernels, lambda key: chain.receive(key, back_fill=False) is not None)
    refused = "kregistry docs security says what each reason means"
    raise_rejections(chain, (kernels[name] for name in missing), refused, as_json)
    what = f"of {chain.use[0].name} are intact{'' if trust.policy is None else ', and signed as the policy asks'}"
    report(kernels, missing, chain, what, f"{next_command('push', url)} adds them", as_json)
