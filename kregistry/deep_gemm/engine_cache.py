"""The JIT cache that a server of an engine will read: engines set ``DG_JIT_CACHE_DIR`` for DeepGEMM themselves.

* SGLang always sets it: to ``SGLANG_DG_CACHE_DIR`` as it is, or else to a directory of its own. Version 0.5.23 uses
  ``deep_gemm`` below ``SGLANG_CACHE_DIR`` (default ``~/.cache/sglang``), version 0.5.15 ``~/.cache/deep_gemm``.
* vLLM 0.33 sets it, unless it is set already, to ``deep_gemm`` below ``VLLM_CACHE_ROOT``, whose default is ``vllm``
  below ``XDG_CACHE_HOME`` or ``~/.cache``.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from attrs import frozen

from kregistry.deep_gemm.environment import DG_JIT_CACHE_DIR

#: SGLang declares its default in this file, which is read and not imported. Older versions have other text there.
_SGLANG_DECLARATION = ("srt/environ.py", '_default_cache_subdir("deep_gemm")')


@frozen
class EngineCache:
    """Where an engine keeps DeepGEMM's kernels.

    Attributes:
        engine: ``"sglang"`` or ``"vllm"``.
        version: of the installed engine; empty if it is not installed, and then a recent version is assumed.
        directory: as the engine passes it to DeepGEMM; a relative one starts at the server's working directory.
        decided_by: the variable that names it, or "default".
        variable: the variable by which the engine itself can be pointed elsewhere.
    """

    engine: str
    version: str
    directory: Path
    decided_by: str
    variable: str


def engine_cache(engine: str, environment: Mapping[str, str] = os.environ) -> EngineCache:
    """The JIT cache of a server of this engine that has this environment.

    Args:
        engine: one of :data:`kregistry.manifest.format.ENGINES`.
        environment: of the server.
    """
    return _FINDERS[engine](environment)


def _sglang(environment: Mapping[str, str]) -> EngineCache:
    version = _version("sglang")
    named = environment.get("SGLANG_DG_CACHE_DIR")
    if named:
        return EngineCache("sglang", version, Path(named), "SGLANG_DG_CACHE_DIR", "SGLANG_DG_CACHE_DIR")
    if version and not _declares_a_cache_of_its_own():
        old = _user_cache(environment) / "deep_gemm"
        return EngineCache("sglang", version, old, "default", "SGLANG_DG_CACHE_DIR")
    base = environment.get("SGLANG_CACHE_DIR")
    directory = _expanded(base, environment) if base else _user_cache(environment) / "sglang"
    reason = "SGLANG_CACHE_DIR" if base else "default"
    return EngineCache("sglang", version, directory / "deep_gemm", reason, "SGLANG_DG_CACHE_DIR")


def _vllm(environment: Mapping[str, str]) -> EngineCache:
    version = _version("vllm")
    named = environment.get(DG_JIT_CACHE_DIR)
    if named:
        return EngineCache("vllm", version, Path(named), DG_JIT_CACHE_DIR, DG_JIT_CACHE_DIR)
    root = environment.get("VLLM_CACHE_ROOT")
    if root is not None:
        return EngineCache(
            "vllm", version, _expanded(root, environment) / "deep_gemm", "VLLM_CACHE_ROOT", DG_JIT_CACHE_DIR
        )
    home = environment.get("XDG_CACHE_HOME")
    base = _expanded(home, environment) if home is not None else _user_cache(environment)
    reason = "default" if home is None else "XDG_CACHE_HOME"
    return EngineCache("vllm", version, base / "vllm" / "deep_gemm", reason, DG_JIT_CACHE_DIR)


_FINDERS: Mapping[str, Callable[[Mapping[str, str]], EngineCache]] = {"sglang": _sglang, "vllm": _vllm}


def installed_engines() -> tuple[str, ...]:
    """The engines that are installed in this Python."""
    return tuple(engine for engine in _FINDERS if _version(engine))


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _declares_a_cache_of_its_own() -> bool:
    """Whether the installed SGLang keeps kernels below ``SGLANG_CACHE_DIR``; its package is not imported."""
    spec = importlib.util.find_spec("sglang")
    name, text = _SGLANG_DECLARATION
    for place in (spec.submodule_search_locations or ()) if spec else ():
        try:
            return text in Path(place, name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
    return True


def _user_cache(environment: Mapping[str, str]) -> Path:
    return _expanded("~", environment) / ".cache"


def _expanded(path: str, environment: Mapping[str, str]) -> Path:
    """What ``os.path.expanduser`` makes of a path in this environment."""
    if path == "~" or path.startswith("~/"):
        home = environment.get("HOME") or os.path.expanduser("~")  # noqa: PTH111  # without a home it stays as it is
        return Path(home + path[1:])
    return Path(path)
