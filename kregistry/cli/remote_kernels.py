"""What push, pull and lookup have in common: which kernels they are about, their options, and the report at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from attrs import frozen

from kregistry.bounded_input import MAX_JSON_BYTES, read_input
from kregistry.cli.option_values import Selection, Verbosity
from kregistry.cli.options import json_option, manifest_options, print_json, store_option, verbosity_options
from kregistry.cli.output import echo, say
from kregistry.errors import IncompleteError, TrustError
from kregistry.remote.chain import Chain
from kregistry.trust.statement import Provenance

if TYPE_CHECKING:
    from kregistry.plan.plan import Plan
    from kregistry.plan.plan_file import PlanFile
    from kregistry.store import Store

Command: TypeAlias = Callable[..., Any]
_REQUESTS = 16
#: The hint of push, pull and lookup, whose work is the remote.
NO_ANSWER = "check the URL, the network, and the credentials: kregistry docs sharing"


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


@frozen
class RemoteRequest:
    """What push, pull and lookup are asked for, besides the URL."""

    selection: Selection
    lock: Path | None
    store: Store
    verbosity: Verbosity
    as_json: bool

    def wanted(self) -> Wanted:
        """See :func:`wanted`."""
        return wanted(self.selection, self.lock, self.verbosity, self.store)


def request_options(command: Command) -> Command:
    """Add FILE and its options, --lock, --store, -q, -v and --json; the command receives ``request``."""

    @functools.wraps(command)
    def with_request(
        *, selection: Selection, lock: Path | None, store: Store, verbosity: Verbosity, as_json: bool, **rest: Any
    ) -> Any:
        return command(request=RemoteRequest(selection, lock, store, verbosity, as_json), **rest)

    return manifest_options(lock_option(store_option(verbosity_options(json_option(with_request)))))


def for_each(kernels: Mapping[str, str], action: Callable[[str], bool]) -> tuple[str, ...]:
    """The ids of the kernels for which ``action(key)`` is false; many run at once."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_REQUESTS) as threads:
        done = dict(zip(kernels, threads.map(action, kernels.values())))
    return tuple(name for name, good in done.items() if not good)


def raise_rejections(chain: Chain, keys: Iterable[str], hint: str, as_json: bool) -> None:
    """
    Raises:
        TrustError: one of these kernels was refused. With --json, the rejections are printed too.
    """
    rejections = chain.rejections_of(keys)
    if rejections and as_json:
        from attrs import asdict

        print_json({"refused": [asdict(each) for each in rejections]})
    if rejections:
        raise TrustError(rejections, hint)


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
