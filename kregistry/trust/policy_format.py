"""The format of policies as attrs classes, and as a JSON Schema for editors."""

from __future__ import annotations

from typing import Any

from attrs import NOTHING, field, fields, frozen

VERSION = 1


def _meaning(text: str, **options: Any) -> Any:
    return field(metadata={"meaning": text}, **options)


@frozen
class KeySource:
    """One key of the file."""

    id: str = _meaning("sha256 of the key in DER form, as kregistry keygen prints it")
    key: str = _meaning("the public key: ed25519:BASE64")
    valid_from: Any = _meaning("first day (UTC) on which it is valid, e.g. 2026-12-01", default=None)
    valid_until: Any = _meaning("first day (UTC) on which it is not valid any more", default=None)
    revoked: bool = _meaning("true: nothing that it has signed is taken, whenever that was", default=False)
    targets: list[Any] | None = _meaning("GPUs, e.g. h100 or sm_90a; default: all", default=None)
    deep_gemm: list[Any] | None = _meaning('versions of DeepGEMM, e.g. "0.1.4*"; default: all', default=None)
    remotes: list[Any] | None = _meaning('URLs, e.g. "s3://team/*"; default: all', default=None)


@frozen
class PolicySource:
    """A whole file."""

    version: int = _meaning("version of the format: 1")
    keys: dict[str, Any] = _meaning("keys by a name of your own")


def policy_schema() -> dict[str, Any]:
    """The schema in draft 7."""
    texts = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    day = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}"}
    kinds: dict[str, dict[str, Any]] = {
        "id": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "key": {"type": "string", "pattern": "^ed25519:[A-Za-z0-9+/]{43}=$"},
        "valid_from": day,
        "valid_until": day,
        "revoked": {"type": "boolean"},
        **dict.fromkeys(("targets", "deep_gemm", "remotes"), texts),
    }
    key = _object(KeySource, kinds)
    keys = {"type": "object", "minProperties": 1, "additionalProperties": key}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "kregistry policy (trust.yaml)",
        **_object(PolicySource, {"version": {"const": VERSION}, "keys": keys}),
    }


def _object(cls: type, kinds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    attributes = fields(cls)
    properties = {each.name: {"description": each.metadata["meaning"], **kinds[each.name]} for each in attributes}
    required = [each.name for each in attributes if each.default is NOTHING]
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}
