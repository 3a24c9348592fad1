"""Envelopes: the ones of DSSE, and every changed bit is found."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("securesystemslib")

from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey
from signing import private_key, signing_key

from kregistry.trust.envelope import PAYLOAD_TYPE, Envelope

PAYLOAD = b'{"_type":"x"}'
KEY = signing_key("a")


def test_signed_and_read_again() -> None:
    raw = Envelope.sign(PAYLOAD, [KEY, signing_key("b")]).encoded()
    found = Envelope.read(raw)
    assert (found.payload, found.encoded()) == (PAYLOAD, raw)
    assert found.signed_by([signing_key("b").public, signing_key("c").public]) == [signing_key("b").public]
    assert raw == Envelope.sign(PAYLOAD, [KEY, signing_key("b")]).encoded()


def test_every_changed_bit_is_found() -> None:
    raw = Envelope.sign(PAYLOAD, [KEY]).encoded()
    for place in range(len(raw)):
        for bit in range(8):
            changed = raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]
            try:
                found = Envelope.read(changed)
            except ValueError:
                continue
            assert found.signed_by([KEY.public]) == [], f"bit {bit} of byte {place}"


def test_another_implementation_reads_our_envelopes() -> None:
    public = SSlibKey.from_crypto(private_key("a").public_key(), keyid=KEY.public.id)
    envelope = OtherEnvelope.from_dict(json.loads(Envelope.sign(PAYLOAD, [KEY]).encoded()))
    assert set(envelope.verify([public], 1)) == {KEY.public.id}


def test_we_read_the_signatures_of_another_implementation() -> None:
    public = SSlibKey.from_crypto(private_key("a").public_key(), keyid=KEY.public.id)
    envelope = OtherEnvelope(PAYLOAD, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(private_key("a"), public))
    raw = json.dumps(envelope.to_dict(), separators=(",", ":"), sort_keys=True).encode() + b"\n"
    assert Envelope.read(raw).signed_by([KEY.public]) == [KEY.public]


@pytest.mark.parametrize(
    "change",
    [
        {"payloadType": "text/plain"},
        {"payload": "e30"},
        {"payload": 3},
        {"signatures": []},
        {"signatures": {}},
        {"signatures": [{"keyid": "x", "sig": "AAAA"}]},
        {"signatures": [{"sig": "AAAA"}]},
        {"signatures": [{"keyid": "0" * 64, "sig": "AAAA"}] * 17},
        {"more": 1},
    ],
)
def test_other_content_is_no_envelope(change: dict[str, object]) -> None:
    content = json.loads(Envelope.sign(PAYLOAD, [KEY]).encoded())
    with pytest.raises(ValueError):
        Envelope.read(json.dumps({**content, **change}, separators=(",", ":"), sort_keys=True).encode() + b"\n")


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"[" * 10000, b"\xff", b'"x"', b"{}"])
def test_what_is_no_json_object_is_no_envelope(raw: bytes) -> None:
    with pytest.raises(ValueError):
        Envelope.read(raw)
