"""Where the kernels of a manifest go, and warnings where a server will look elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kregistry.errors import InputError

if TYPE_CHECKING:
    from kregistry.deep_gemm.engine_cache import EngineCache
    from kregistry.manifest import Manifest

#: Variables that somebody sets for a server of an engine.
_OF_ENGINES = {
    "sglang": ("SGLANG_DG_CACHE_DIR", "SGLANG_CACHE_DIR"),
    "vllm": ("VLLM_CACHE_ROOT",),
}


def jit_cache_directory(cache_dir: Path | None, engine: str | None, manifest: Manifest) -> Path | None:
    """The directory of the JIT cache that options and manifest name; ``None``: DeepGEMM's own.

    ``--cache-dir`` goes before ``--engine``, and that before the manifest.

    Raises:
        InputError: --engine and --cache-dir name two directories.
        MissingRequirement: DeepGEMM would find no directory at all.
    """
    from kregistry.deep_gemm.cache_layout import check_layout
    from kregistry.deep_gemm.engine_cache import engine_cache
    from kregistry.deep_gemm.environment import DG_JIT_CACHE_DIR
    from kregistry.toolchain import installed_series

    if engine and cache_dir:
        raise InputError("--engine and --cache-dir each name a JIT cache", "leave one of them out")
    if cache_dir is not None:
        return cache_dir
    named = engine or manifest.engine
    if named:
        found = engine_cache(named)
        if found.decided_by != DG_JIT_CACHE_DIR:  # that may name several directories
            return found.directory
    check_layout(installed_series())
    return None


def warn_of_places(filled: list[Path], engine: str) -> None:
    """Warn of a directory that depends on where a server starts, and of engines that look elsewhere.

    Args:
        filled: the directories in which DeepGEMM will find the kernels.
        engine: the engine that an option or the manifest names; may be empty.
    """
    for directory in filled:
        if str(directory).startswith("~"):
            _warn(f"the JIT cache {directory} is a folder named ~ in the working directory: DeepGEMM expands no ~")
        elif not directory.is_absolute():
            place = directory.absolute()
            _warn(f"the JIT cache {directory} is {place} only for a server that starts in this directory")
    here = {Path(os.path.normpath(each.absolute())) for each in filled}
    for cache in _expected(engine):
        if Path(os.path.normpath(cache.directory.absolute())) not in here:
            _warn(
                f"{cache.engine} will look for kernels in {cache.directory} ({cache.decided_by}), and they are in "
                f"{', '.join(map(str, filled))}: use --engine {cache.engine}, or set {cache.variable}"
            )


def _expected(engine: str) -> list[EngineCache]:
    """The caches of the engine that is named, and of those for which this environment sets a variable."""
    from kregistry.deep_gemm.engine_cache import engine_cache

    meant = [name for name, variables in _OF_ENGINES.items() if any(map(os.environ.get, variables))]
    return [engine_cache(name) for name in ([engine] if engine else meant)]


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)
