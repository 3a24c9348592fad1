"""kregistry audit"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.option_values import Selection, Verbosity
from kregistry.cli.options import (
    jobs_option,
    json_option,
    print_json,
    selection_options,
    store_option,
    verbosity_options,
)
from kregistry.cli.output import echo, say
from kregistry.cli.remote_kernels import NO_ANSWER, lock_option, raise_rejections
from kregistry.cli.remote_options import trust_options
from kregistry.errors import InputError
from kregistry.kernel import Kernel
from kregistry.remote.chain import Chain
from kregistry.remote.gate import TrustSettings
from kregistry.remote.location import SUFFIXES, Location
from kregistry.store import Store

_DEFAULT = Path("kernels.yaml")
_file = click.argument("file", type=click.Path(path_type=Path), default=_DEFAULT)


@click.command(name="audit")
@click.argument("where", required=False)
@selection_options(_file)
@lock_option
@store_option
@partial(trust_options, signs=False)
@click.option("--sample", type=click.IntRange(min=1), default=5, show_default=True, help="Kernels to compile again.")
@click.option("--seed", type=click.IntRange(min=0), help="Draws the same kernels as an earlier audit.")
@jobs_option
@verbosity_options
@json_option
def command(
    where: str | None,
    selection: Selection,
    lock: Path | None,
    store: Store,
    trust: TrustSettings,
    sample: int,
    seed: int | None,
    jobs: int | None,
    verbosity: Verbosity,
    as_json: bool,
) -> None:
    """Compile some kernels again and compare them, section by section, with those of the store or of a remote.

    WHERE is a remote or a bundle; without it, the kernels of the store are compared. The kernels are those of the
    manifest FILE (default: kernels.yaml), or of a lock file with sources, which needs no torch.
    """
    from kregistry.compile.audit import audit
    from kregistry.machine import available_cores

    remote, selection = _where(where, selection)
    chain = None
    if remote is not None:
        locations = Location.parse_all(remote)
        chain = Chain.open(locations, trust.of_store(store.directory), required=True, hint=NO_ANSWER)
    kernels, nvcc = _kernels(selection, lock, verbosity, store)
    chosen = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    cubin_of = partial(_of_store, store) if chain is None else partial(_of_remote, chain)
    report = audit(kernels.values(), cubin_of, nvcc, sample, chosen, jobs or available_cores())
    if chain is not None:
        raise_rejections(chain, (each.key for each in kernels.values()), "", as_json)
    if as_json:
        print_json(report.to_json())
    else:
        echo(f"{report.summary} ({report.sampled} of {report.total} drawn by --seed {report.seed})")
    for line in chain.summaries() if chain is not None else ():
        say(line)
    report.raise_problems()


def _where(where: str | None, selection: Selection) -> tuple[str | None, Selection]:
    """A single file that is no bundle is FILE: then the store is compared."""
    from attrs import evolve

    if where is None or where.partition("?")[0].endswith(SUFFIXES) or not Path(where).is_file():
        return where, selection
    if selection.file != _DEFAULT:
        hint = f"{next_command('audit')} compares the store"
        raise InputError(f"audit {where}: a file, where a remote is expected", hint)
    return None, evolve(selection, file=Path(where))


def _kernels(
    selection: Selection, lock: Path | None, verbosity: Verbosity, store: Store
) -> tuple[Mapping[str, Kernel], Path]:
    """The kernels with their sources, and the compiler."""
    from kregistry.toolchain import find_cuda_toolkit, find_toolchain

    if lock is not None:
        from kregistry.compile.locked_kernels import locked_kernels

        cuda = find_cuda_toolkit()
        return locked_kernels(lock, cuda.compiler), cuda.nvcc
    from kregistry.cli.progress import ProgressBar
    from kregistry.plan.planner import make_plan

    registry, manifest, toolchain = selection.registry, selection.manifest(), find_toolchain()
    with ProgressBar(registry, verbosity, manifest, store.directory, builds=False):
        plan = make_plan(manifest, registry, toolchain=toolchain, keep_in=store.directory)
    return plan.kernels, toolchain.cuda.nvcc


def _of_store(store: Store, kernel: Kernel) -> bytes | None:
    found = store.content(kernel.key)
    return None if found is None else found.cubin


def _of_remote(chain: Chain, kernel: Kernel) -> bytes | None:
    received = chain.receive(kernel.key)
    return None if received is None else received.cubin
