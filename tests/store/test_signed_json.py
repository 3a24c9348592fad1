"""JSON with a digest of itself: what is read is what was written."""

from __future__ import annotations

import json

import pytest

from kregistry.store import signed_json

CONTENT = {"b": [1, 2.5, None, True], "a": {"text": "\u00e9\n"}, "": ""}


def test_what_is_written_is_read() -> None:
    assert signed_json.decode(signed_json.encode(CONTENT)) == CONTENT


def test_the_order_and_the_spaces_do_not_count() -> None:
    content = json.loads(signed_json.encode(CONTENT))
    assert signed_json.decode(json.dumps(content, sort_keys=True).encode()) == CONTENT


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "Expecting value"),
        (b"\xff", "can't decode"),
        (b"[]", "expected an object, got list"),
        (b"[" * 100_000, "levels deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "int"),
        (b'{"digest": null}', "the digest differs"),
        (signed_json.encode(CONTENT).replace(b"2.5", b"2.6"), "changed after it was written"),
    ],
)
def test_anything_else_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        signed_json.decode(raw)


def test_content_without_a_digest_is_told_apart() -> None:
    with pytest.raises(signed_json.NotSigned, match="the key 'digest' is missing"):
        signed_json.decode(b'{"a": 1}')
