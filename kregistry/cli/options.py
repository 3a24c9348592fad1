"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from kregistry.cache import JitCache, Store
    from kregistry.manifest import Manifest
    from kregistry.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="TYPE=PLUGIN",
    help="Which plugin provides a kernel type that two of them offer.",
)
jobs_option = click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Compilers at once (default: one for each core)."
)


def manifest_options(command: F) -> F:
    """FILE, --model, --target and --plugin."""
    for option in reversed(
        (
            click.argument("file", type=click.Path(path_type=Path), default=Path("kernels.yaml")),
            click.option("-m", "--model", "models", multiple=True, help="Only this model (may be given again)."),
            click.option(
                "-t",
                "--target",
                envvar="KREGISTRY_TARGET",
                help="A target's name, 'detect', or a YAML file (default: the manifest's).",
            ),
            plugin_option,
        )
    ):
        command = option(command)
    return command


def storage_options(command: F) -> F:
    """--store and --cache-dir."""
    for option in reversed(
        (
            click.option(
                "--store",
                "store_directory",
                type=click.Path(path_type=Path),
                envvar="KREGISTRY_STORE",
                help="Directory of compiled kernels.",
            ),
            click.option(
                "--cache-dir",
                type=click.Path(path_type=Path),
                help="DeepGEMM's JIT cache (default: what DeepGEMM uses by itself).",
            ),
        )
    ):
        command = option(command)
    return command


def make_registry(plugins: tuple[str, ...]) -> Registry:
    """The registry, with broken plugins named on standard error.

    Raises:
        InputError: an option is not of the form TYPE=PLUGIN.
    """
    from kregistry.errors import InputError
    from kregistry.registry import Registry

    choices: dict[str, str] = {}
    for text in plugins:
        kernel_type, equals, plugin = text.partition("=")
        if not (kernel_type and equals and plugin):
            raise InputError(f"--plugin: expected TYPE=PLUGIN, got {text!r}", "e.g. --plugin fp8_gemm_nt=my_plugin")
        choices[kernel_type] = plugin
    registry = Registry(choices)
    for error in registry.broken:
        click.echo(f"warning: {error.message}", err=True)
    return registry


def read_manifest(file: Path, models: tuple[str, ...], target: str | None, registry: Registry) -> Manifest:
    from kregistry.manifest import load_manifest

    return load_manifest(file, registry, target).select(models)


def make_storage(store_directory: Path | None, cache_dir: Path | None) -> tuple[Store, JitCache]:
    from kregistry.cache import JitCache, Store

    return (Store(store_directory) if store_directory else Store.default(), JitCache(cache_dir))


def print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=1))
