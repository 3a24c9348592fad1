"""Chooses the target of a manifest: the caller's target, or else that of the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import asdict, evolve

from kregistry.errors import InputError, KregistryError, shorten
from kregistry.manifest.document import Document, Path_, read_document
from kregistry.manifest.format import TargetSource, describe, structure
from kregistry.target import Target, detect_target, get_target

_NUMBERS = ("device_name", "compute_capability", "num_sms", "l2_bytes", "memory_bytes")


def resolve_target(document: Document, data: object, override: Target | str | None) -> Target | None:
    """The target to plan for; ``None`` if the manifest's own target has problems, which are then reported.

    Raises:
        InputError: the override is unknown.
        MissingRequirement: the target is ``detect`` and there is no GPU.
    """
    if isinstance(override, Target):
        return override
    if override is not None:
        return named_target(override)
    if data is None:
        document.report(
            (),
            "the manifest names no target",
            "add `target: h100` to the manifest, or give --target (kregistry targets lists them)",
        )
    elif isinstance(data, str):
        try:
            return get_target(data) if data != "detect" else detect_target()
        except InputError as error:
            document.report(("target",), error.message, error.hint)
    elif isinstance(data, dict):
        return _own_target(document, data, ("target",))
    else:
        document.report(("target",), f"expected a target's name or a mapping, got {describe(data)}")
    return None


def named_target(name: str) -> Target:
    """A target by its name, ``detect``, or the path of a YAML file that declares one.

    Raises:
        UnknownNameError: no such target.
        ManifestError: the file declares no valid target.
        MissingRequirement: ``detect`` without a GPU.
    """
    if name == "detect":
        return detect_target()
    if not name.endswith((".yaml", ".yml")):
        return get_target(name)
    document = read_document(Path(name))
    own = _own_target(document, document.data, ())
    document.raise_problems()
    assert own is not None
    return own


def _own_target(document: Document, data: Any, path: Path_) -> Target | None:
    source = structure(document, data, TargetSource, path)
    if source is None:
        return None
    given = {key: value for key, value in asdict(source).items() if key in _NUMBERS and value is not None}
    try:
        if source.base is not None:
            base = get_target(source.base)
            return evolve(base, name=source.name, source=f"{base.name} with changes ({document.file})", **given)
    except KregistryError as error:
        document.report((*path, "base"), error.message, error.hint)
        return None
    except ValueError as error:
        document.report(path, shorten(str(error.args[0])))
        return None
    missing = [key for key in _NUMBERS if key not in given]
    if missing:
        document.report(path, f"missing: {', '.join(missing)}", "give them, or `base: NAME` with a built-in target")
        return None
    try:
        return Target(name=source.name, source=document.file, **given)
    except ValueError as error:
        document.report(path, shorten(str(error.args[0])))
        return None
