"""JSON files that carry a digest of their own content, so that a changed byte is found when the file is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from kregistry.bounded_input import parse_json

#: The key of the digest: sha256 over the rest of the content, in hex.
DIGEST = "digest"


class NotSigned(ValueError):
    """The content carries no digest."""


def encode(content: Mapping[str, Any]) -> bytes:
    """The content as JSON, with its digest as the last key."""
    return (json.dumps({**content, DIGEST: _digest(content)}, indent=1) + "\n").encode()


def decode(raw: bytes) -> dict[str, Any]:
    """The content of a file, without its digest.

    Raises:
        NotSigned: it is a JSON object without a digest.
        ValueError: it is not a JSON object, or its digest is not that of its content.
    """
    content = parse_json(raw)
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, got {type(content).__name__}")
    return check(content)


def check(content: Mapping[str, Any]) -> dict[str, Any]:
    """Parsed content, without its digest.

    Raises:
        NotSigned: it has no digest.
        ValueError: its digest is not that of the rest.
    """
    if DIGEST not in content:
        raise NotSigned(f"the key {DIGEST!r} is missing")
    rest = {key: value for key, value in content.items() if key != DIGEST}
    if content[DIGEST] != _digest(rest):
        raise ValueError("its content was changed after it was written: the digest differs")
    return rest


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
