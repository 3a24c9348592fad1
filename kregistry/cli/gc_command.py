"""kregistry gc"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click

from kregistry.cli.options import json_option, print_json, store_option
from kregistry.cli.output import echo
from kregistry.errors import InputError
from kregistry.store import Store

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 1 << 10,
    "mi": 1 << 20,
    "gi": 1 << 30,
    "ti": 1 << 40,
}


_Callback = Callable[[click.Context, click.Parameter, str | None], float | None]


def _quantity(name: str, units: dict[str, int], pattern: str, example: str) -> _Callback:
    """Reads a number with a unit."""
    form = re.compile(pattern, re.IGNORECASE | re.ASCII)

    def read(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
        found = form.fullmatch(value.strip()) if value is not None else None
        if value is not None and found is None:
            raise click.BadParameter(f"{value[:40]!r} is no {name}, e.g. {example}")
        return float(found[1]) * units[found[2].lower()] if found else None

    return read


_age = _quantity("age", _SECONDS, r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])", "30d or 12h")
_size = _quantity("size", _BYTES, r"(\d{1,15}(?:\.\d{1,9})?)\s*((?:[kmgt]i?)?)b?", "2GB or 500MiB")


@click.command(name="gc")
@click.option("--older-than", callback=_age, metavar="AGE", help="Remove what was not used for this long: 30d, 12h.")
@click.option(
    "--max-size", callback=_size, metavar="SIZE", help="Remove the least recently used, down to this size: 2GB."
)
@click.option("--deep-gemm", metavar="VERSION", help="Remove what only plans of this DeepGEMM name: '0.1.4*'.")
@click.option(
    "--keep",
    "kept_files",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The kernels of this lock file or plan stay (can be repeated).",
)
@click.option("--dry-run", is_flag=True, help="Remove nothing; show what would be removed.")
@store_option
@json_option
def command(
    older_than: float | None,
    max_size: float | None,
    deep_gemm: str | None,
    kept_files: tuple[Path, ...],
    dry_run: bool,
    store: Store,
    as_json: bool,
) -> None:
    """Remove kernels from the store that are old, too many, or of another DeepGEMM. Servers go on."""
    from kregistry.cli.tables import human_bytes
    from kregistry.plan.plan_file import read_plan
    from kregistry.store.garbage import Rules, collect

    if older_than is None and max_size is None and deep_gemm is None:
        text = "gc: nothing says what to remove"
        raise InputError(text, "--older-than 30d, --max-size 2GB or --deep-gemm VERSION")
    keep = {kernel.key for file in kept_files for kernel in read_plan(file).kernels.values()}
    if not store.directory.is_dir():
        raise InputError(f"{store.directory}: there is no store", "--store names one")
    limit = None if max_size is None else int(max_size)
    chosen = _only_of(store, deep_gemm) if deep_gemm is not None else frozenset[str]()
    if not dry_run:
        store.open()
    found = collect(store, Rules(older_than, limit, chosen, keep), dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **found.to_json()})
        return
    counts = Counter(each.reason for each in found.removed)
    reasons = "".join(f", {count} by {reason}" for reason, count in sorted(counts.items()))
    verb = "would be removed" if dry_run else "removed"
    echo(
        f"{len(found.removed)} kernels {verb} ({human_bytes(found.removed_bytes)}{reasons}), {found.files} other files"
    )
    stay = f", {found.kept} of them only because --keep names them" if found.kept else ""
    echo(f"{found.kernels} kernels stay in {store.directory} ({human_bytes(found.nbytes)}{stay})")


def _only_of(store: Store, pattern: str) -> frozenset[str]:
    """The kernels that kept plans of this DeepGEMM name, and no other kept plan."""
    from kregistry.plan.kept_plans import plans_in

    of_it: set[str] = set()
    of_others: set[str] = set()
    for plan in plans_in(store.directory):
        keys = {kernel.key for kernel in plan.kernels.values()}
        (of_it if fnmatch.fnmatchcase(plan.versions.deep_gemm, pattern) else of_others).update(keys)
    return frozenset(of_it - of_others)
