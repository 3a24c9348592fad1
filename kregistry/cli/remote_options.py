"""Options that name remotes, and whose signatures are taken or given."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click

from kregistry.remote.chain import Chain, for_builds
from kregistry.remote.gate import KREGISTRY_SIGN, KREGISTRY_TRUST, TrustSettings
from kregistry.remote.location import KREGISTRY_REMOTE, Location

Command: TypeAlias = Callable[..., Any]
_NOT_REQUIRED = "without --require-remote a remote that fails is a miss"


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
