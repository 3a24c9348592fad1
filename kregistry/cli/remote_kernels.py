"""What push, pull and lookup have in common: which kernels they are about, and the report at the end."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from attrs import frozen

from kregistry.bounded_input import MAX_JSON_BYTES, read_input
from kregistry.cli.options import Selection, Verbosity, print_json
from kregistry.cli.output import echo, say
from kregistry.errors import IncompleteError, TrustError
from kregistry.remote.chain import Chain, for_builds
from kregistry.remote.gate import KREGISTRY_SIGN, KREGISTRY_TRUST, TrustSettings
from kregistry.remote.location import KREGISTRY_REMOTE, Location
from kregistry.trust.statement import Provenance

if TYPE_CHECKING:
    from kregistry.plan.plan import Plan
    from kregistry.plan.plan_file import PlanFile
    from kregistry.store import Store

Command: TypeAlias = Callable[..., Any]
_REQUESTS = 16
_NOT_REQUIRED = "without --require-remote a remote that fails is a miss"
#: The hint of push, pull and lookup, whose work is the remote.
NO_ANSWER = "check the URL, the network, and the credentials: kregistry docs sharing"


def remote_options(command: Command) -> Command:
    """Add --remote, --require-remote, --trust and --sign, below the options of the storage; it receives ``remote``."""

    @functools.wraps(command)
    def with_remote(*, remotes: tuple[str, ...], require_remote: bool, trust: TrustSettings, **rest: Any) -> Any:
        named = remotes or (os.environ.get(KREGISTRY_REMOTE, ""),)
        locations = for_builds(location for each in named for location in Location.parse_all(each))
        settings = trust.of_store(rest["storage"].store.directory)
        return command(remote=Chain.open(locations, settings, required=require_remote, hint=_NOT_REQUIRED), **rest)

    for option in (
        click.option(
            "--require-remote", is_flag=True, help="A remote that fails is an error (exit 4) in place of a miss."
        ),
        click.option(
            "--remote",
            "remotes",
            multiple=True,
            metavar="URL",
            help=f"Ask here before compiling: s3://, gs://, az://, https:// or a directory (also: {KREGISTRY_REMOTE}).",
        ),
    ):
        with_remote = option(with_remote)
    return trust_options(with_remote)


def trust_options(command: Command, *, signs: bool = True) -> Command:
    """Add --trust and --sign; the command receives ``trust``. Nothing is read from the store yet."""

    @functools.wraps(command)
    def with_trust(*, policy: Path | None, keys: tuple[Path, ...] = (), **rest: Any) -> Any:
        return command(trust=TrustSettings.read(policy, keys), **rest)

    option = click.option(
        "--trust",
        "policy",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help=f"Policy: take only kernels that its keys have signed (also: {KREGISTRY_TRUST}).",
    )
    return option(sign_option(with_trust) if signs else with_trust)


def sign_option(command: Command) -> Command:
    """Add --sign; the command receives ``keys``."""
    return click.option(
        "--sign",
        "keys",
        metavar="KEY",
        multiple=True,
        type=click.Path(path_type=Path),
        help=f"Sign what is written with this private key (also: {KREGISTRY_SIGN}; can be repeated).",
    )(command)


def lock_option(command: Command) -> Command:
    """Add --lock: its kernels need no plan, and so no torch."""
    return click.option(
        "--lock", type=click.Path(path_type=Path), help="The kernels of this lock file, instead of a manifest's."
    )(command)


@frozen
class Wanted:
    """The kernels of a lock file, or of the plan of a manifest.

    Attributes:
        keys: id -> key.
        provenance: what they are made from.
        name: what they are for.
    """

    keys: dict[str, str]
    provenance: Provenance
    name: str


def wanted(selection: Selection, lock: Path | None, verbosity: Verbosity, store: Store) -> Wanted:
    """
    Raises:
        KregistryError: the file or the plan is wrong.
    """
    from kregistry.trust.seal import sha256_of

    if lock is not None:
        from kregistry.plan.plan_file import read_plan

        file = read_plan(lock)
        known = file.sources.kernels if file.sources else {}
        sources = {file.kernels[name].key: each.source for name, each in known.items() if name in file.kernels}
        models = {each.model for each in file.entries}
        headers = {f"headers {digest[:16]}": digest for digest in (file.sources.directories if file.sources else ())}
        materials = {lock.name: sha256_of(read_input(lock, 2 * MAX_JSON_BYTES)), **headers}
        keys = {name: each.key for name, each in file.kernels.items()}
        return _wanted(keys, file, models, sources, materials)
    from kregistry.cli.progress import ProgressBar
    from kregistry.plan.planner import make_plan

    registry, manifest = selection.registry, selection.manifest()
    with ProgressBar(registry, verbosity, manifest, store.directory, builds=False):
        plan = make_plan(manifest, registry, keep_in=store.directory)
    sources = {kernel.key: kernel.source for kernel in plan.kernels.values()}
    materials = {selection.file.name: sha256_of(read_input(selection.file))}
    keys = {name: kernel.key for name, kernel in plan.kernels.items()}
    return _wanted(keys, plan, set(manifest.models), sources, materials)


def _wanted(
    keys: dict[str, str],
    plan: Plan | PlanFile,
    models: Iterable[str],
    sources: Mapping[str, str],
    materials: Mapping[str, str],
) -> Wanted:
    versions = plan.versions.to_json()
    from kregistry.trust.seal import sha256_of

    digests = {key: sha256_of(source.encode()) for key, source in sources.items()}
    provenance = Provenance(plan.target.name, versions, digests, materials)
    stack = (f"{name} {version}" for name, version in versions.items())
    return Wanted(keys, provenance, ", ".join((*sorted(models), plan.target.name, *stack)))


def for_each(kernels: Mapping[str, str], action: Callable[[str], bool]) -> tuple[str, ...]:
    """The ids of the kernels for which ``action(key)`` is false; many run at once."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_REQUESTS) as threads:
        done = dict(zip(kernels, threads.map(action, kernels.values())))
    return tuple(name for name, good in done.items() if not good)


def raise_refusals(chain: Chain, keys: Iterable[str], hint: str, as_json: bool) -> None:
    """
    Raises:
        TrustError: one of these kernels was refused. With --json, the refusals are printed too.
    """
    refusals = chain.refusals_of(keys)
    if refusals and as_json:
        from attrs import asdict

        print_json({"refused": [asdict(each) for each in refusals]})
    if refusals:
        raise TrustError(refusals, hint)


def report(
    kernels: Mapping[str, str], missing: tuple[str, ...], chain: Chain, what: str, hint: str, as_json: bool
) -> None:
    """Print "67 of 69 kernels ...", and how each remote was used.

    Raises:
        IncompleteError: kernels are missing.
    """
    present = len(kernels) - len(missing)
    text = f"{present} of {len(kernels)} kernels {what}"
    if as_json:
        from attrs import asdict

        print_json(
            {
                "kernels": len(kernels),
                "present": present,
                "missing": list(missing),
                "remote": [asdict(each) for each in chain.use],
            }
        )
    else:
        echo(text)
    for line in chain.summaries():
        say(line)
    if missing:
        raise IncompleteError(text, missing, hint)
