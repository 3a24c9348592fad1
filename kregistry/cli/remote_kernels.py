"""What push, pull and lookup have in common: which kernels they are about, and the report at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import click

from kregistry.cli.options import Selection, Verbosity, print_json
from kregistry.cli.output import echo, say
from kregistry.errors import IncompleteError
from kregistry.remote.chain import Chain
from kregistry.remote.location import KREGISTRY_REMOTE, Location
from kregistry.store import Store

Command: TypeAlias = Callable[..., Any]
_REQUESTS = 16
_NOT_REQUIRED = "without --require-remote a remote that fails is a miss"
#: The hint of push, pull and lookup, whose work is the remote.
NO_ANSWER = "check the URL, the network, and the credentials: kregistry docs sharing"


def remote_options(command: Command) -> Command:
    """Add --remote and --require-remote; the command receives ``remote``."""

    @functools.wraps(command)
    def with_remote(*, remotes: tuple[str, ...], require_remote: bool, **rest: Any) -> Any:
        locations = [location for each in remotes for location in Location.parse_all(each)]
        chain = (
            Chain.open(locations, required=require_remote, hint=_NOT_REQUIRED)
            if locations
            else Chain.from_environment(required=require_remote, hint=_NOT_REQUIRED)
        )
        return command(remote=chain, **rest)

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
    return with_remote


def lock_option(command: Command) -> Command:
    """Add --lock: its kernels need no plan, and so no torch."""
    return click.option(
        "--lock", type=click.Path(path_type=Path), help="The kernels of this lock file, instead of a manifest's."
    )(command)


def wanted_kernels(selection: Selection, lock: Path | None, verbosity: Verbosity, store: Store) -> dict[str, str]:
    """Id -> key of the kernels of a lock file, or of the plan of a manifest.

    Raises:
        KregistryError: the file or the plan is wrong.
    """
    if lock is not None:
        from kregistry.plan.plan_file import read_plan

        return {name: kernel.key for name, kernel in read_plan(lock).kernels.items()}
    from kregistry.cli.progress import ProgressBar
    from kregistry.plan.planner import make_plan

    registry, manifest = selection.registry, selection.manifest()
    with ProgressBar(registry, verbosity, manifest, store.directory, builds=False):
        plan = make_plan(manifest, registry, keep_in=store.directory)
    return {name: kernel.key for name, kernel in plan.kernels.items()}


def for_each(kernels: Mapping[str, str], action: Callable[[str], bool]) -> tuple[str, ...]:
    """The ids of the kernels for which ``action(key)`` is false; many run at once."""
    with ThreadPoolExecutor(_REQUESTS) as threads:
        done = dict(zip(kernels, threads.map(action, kernels.values())))
    return tuple(name for name, good in done.items() if not good)


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
