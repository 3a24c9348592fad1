"""kregistry stats"""

from __future__ import annotations

import time

import click

from kregistry.cli.options import json_option, print_json, store_option
from kregistry.cli.output import echo
from kregistry.store import Store


@click.command(name="stats")
@store_option
@click.option("--prometheus", is_flag=True, help="Print the text format of Prometheus, for node_exporter's textfiles.")
@click.option("--zero", is_flag=True, help="Begin to count anew.")
@json_option
def command(store: Store, prometheus: bool, zero: bool, as_json: bool) -> None:
    """Show what the store holds, and how it and the remotes were used: hits, misses, bytes, seconds."""
    from kregistry.remote.usage import forget_usage, read_usage
    from kregistry.remote.usage_metrics import prometheus_text
    from kregistry.store.contents import contents_of

    if prometheus and as_json:
        raise click.UsageError("--json and --prometheus exclude each other")
    if zero:
        forget_usage(store.directory)
        echo(f"counting anew in {store.directory}")
        return
    contents, usage = contents_of(store), read_usage(store.directory)
    if prometheus:
        echo(prometheus_text(usage, contents).rstrip("\n"))
        return
    if as_json:
        print_json({"store": contents.to_json(), **usage.to_json()})
        return
    from kregistry.cli.tables import human_bytes, print_table

    ages = f", the oldest of {_day(contents.oldest)}, the newest of {_day(contents.newest)}" if contents.kernels else ""
    echo(f"{store.directory}: {contents.kernels} kernels, {human_bytes(contents.nbytes)}{ages}")
    if not usage.commands:
        echo("nothing was counted yet: builds, pushes and pulls with this store are")
        return
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(usage.since))
    echo(
        f"{usage.commands} commands since {since}: {usage.compiled} compiled in {usage.compile_seconds:.1f} compiler s"
    )
    rows: list[tuple[object, ...]] = [
        ("this store", usage.found, usage.missed, _rate(usage.found, usage.missed), *7 * ("",))
    ]
    for name, use in sorted(usage.tiers.items()):
        sizes = human_bytes(use.bytes_read), human_bytes(use.bytes_written)
        counts = use.written, use.wrong, use.not_taken, use.errors
        rows.append((name, use.hits, use.misses, _rate(use.hits, use.misses), *counts, *sizes, f"{use.seconds:.2f}"))
    columns = (">hits", ">misses", ">hit rate", ">written", ">wrong", ">refused", ">errors", ">read", ">sent", ">s")
    print_table(("~tier", *columns), rows)


def _rate(hits: int, misses: int) -> str:
    return f"{100 * hits / (hits + misses):.0f} %" if hits + misses else ""


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
