"""kregistry warmup"""

from __future__ import annotations

from pathlib import Path

import click

from kregistry.cli.options import (
    jobs_option,
    json_option,
    make_registry,
    make_storage,
    manifest_options,
    print_json,
    read_manifest,
    storage_options,
)


@click.command(name="warmup")
@manifest_options
@storage_options
@jobs_option
@click.option("--memory", default="0.9", help="Device memory to use: a fraction of what is free, or e.g. 2GiB.")
@click.option("--replan", is_flag=True, help="Plan again, even if an earlier start left a plan that still holds.")
@json_option
def command(
    file: Path,
    models: tuple[str, ...],
    target: str | None,
    plugins: tuple[str, ...],
    store_directory: Path | None,
    cache_dir: Path | None,
    jobs: int | None,
    memory: str,
    replan: bool,
    as_json: bool,
) -> None:
    """Build what is missing, then load every kernel of the manifest FILE on this GPU with one launch each."""
    from kregistry.cli.progress import ProgressBar
    from kregistry.cli.tables import human_bytes
    from kregistry.warm_up import warmup

    registry = make_registry(plugins)
    manifest = read_manifest(file, models, target or "detect", registry)
    store, _ = make_storage(store_directory, None)
    with ProgressBar() as progress:
        registry.listen(progress)
        report = warmup(
            manifest,
            registry=registry,
            store=store,
            cache_dir=cache_dir,
            jobs=jobs,
            memory_budget=memory,
            replan=replan,
        )
    if as_json:
        print_json(report.to_json())
    else:
        for each in report.left:
            click.echo(f"left on disk: {each}")
        click.echo(
            f"{len(report.loaded)} of {report.total} kernels loaded with {len(report.launches)} launches in "
            f"{report.seconds:.2f} s, at most {human_bytes(report.peak_bytes)} of device memory, "
            f"{len(report.compiled)} compiled"
        )
    report.raise_problems()
