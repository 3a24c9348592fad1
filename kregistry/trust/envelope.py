"""Envelopes of DSSE: a payload and its signatures (https://github.com/secure-systems-lab/dsse).

What is signed is the payload with its type and length before it, so that nothing has to be parsed before the signature
is checked. An envelope is accepted only in the form in which :meth:`Envelope.encoded` writes it: then every changed bit
of it is found.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable

from attrs import frozen

from kregistry.bounded_input import parse_json
from kregistry.trust.keys import PublicKey, SigningKey, decode

PAYLOAD_TYPE = "application/vnd.in-toto+json"
#: Limits of an envelope.
MAX_BYTES = 16 << 20
MAX_SIGNATURES = 16
_ID = re.compile(r"[0-9a-f]{64}")


def signed_bytes(payload: bytes) -> bytes:
    """What a signature of a payload is about: the pre-authentication encoding of DSSE."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


@frozen
class EnvelopeSignature:
    """One signature; ``key_id`` only says which key to try."""

    key_id: str
    raw: bytes


@frozen
class Envelope:
    """A payload that nobody has checked yet, and its signatures."""

    payload: bytes
    signatures: tuple[EnvelopeSignature, ...]

    @classmethod
    def sign(cls, payload: bytes, keys: Iterable[SigningKey]) -> Envelope:
        """An envelope with a signature of each key. The same payload and keys give the same bytes."""
        message = signed_bytes(payload)
        return cls(payload, tuple(EnvelopeSignature(each.public.id, each.sign(message)) for each in keys))

    @classmethod
    def read(cls, raw: bytes) -> Envelope:
        """Take an envelope apart. Neither the payload nor a signature is looked into.

        Raises:
            ValueError: it is not an envelope as kregistry writes it.
        """
        if len(raw) > MAX_BYTES:
            raise ValueError("too large")
        content = parse_json(raw)
        try:
            if content["payloadType"] != PAYLOAD_TYPE:
                raise ValueError("the payload has another type")
            signatures = tuple(EnvelopeSignature(each["keyid"], decode(each["sig"])) for each in content["signatures"])
            found = cls(decode(content["payload"]), signatures)
        except (TypeError, KeyError, AttributeError, UnicodeEncodeError) as error:
            raise ValueError("not an envelope") from error
        if not 0 < len(signatures) <= MAX_SIGNATURES:
            raise ValueError(f"{len(signatures)} signatures")
        if not all(isinstance(each.key_id, str) and _ID.fullmatch(each.key_id) for each in signatures):
            raise ValueError("the id of a key is not a sha256")
        if found.encoded() != raw:
            raise ValueError("not in the form that kregistry writes")
        return found

    def encoded(self) -> bytes:
        """The envelope as JSON."""
        content = {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"keyid": each.key_id, "sig": base64.b64encode(each.raw).decode()} for each in self.signatures
            ],
        }
        return json.dumps(content, separators=(",", ":"), sort_keys=True).encode() + b"\n"

    def signed_by(self, keys: Iterable[PublicKey]) -> list[PublicKey]:
        """Those of some keys of which there is a right signature."""
        message = signed_bytes(self.payload)
        by_id = {each.id: each for each in keys}
        found = [by_id[each.key_id] for each in self.signatures if _is_right(each, by_id, message)]
        return list(dict.fromkeys(found))


def _is_right(signature: EnvelopeSignature, keys: dict[str, PublicKey], message: bytes) -> bool:
    return signature.key_id in keys and keys[signature.key_id].has_signed(message, signature.raw)
