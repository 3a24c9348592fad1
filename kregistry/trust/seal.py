"""A piece of content with its envelope before it, as one object, so that the two can never be of different writers.

The content: a line that names the format, a line with the length of the envelope, the envelope, and what it is about.
"""

from __future__ import annotations

import hashlib

from attrs import field, frozen

from kregistry.trust.envelope import MAX_BYTES, Envelope
from kregistry.trust.keys import PublicKey, SigningKey
from kregistry.trust.statement import Provenance, serial_of_now, statement_of

_FORMAT = b"kregistry signed 1\n"
_MAX_DIGITS = len(str(MAX_BYTES))


@frozen
class Signer:
    """Signs with one key, or with several while keys are rotated."""

    keys: tuple[SigningKey, ...] = field(repr=False)

    @property
    def public_keys(self) -> tuple[PublicKey, ...]:
        return tuple(each.public for each in self.keys)

    def seal_kernel(self, key: str, content: bytes, cubin: bytes, provenance: Provenance) -> bytes:
        """A packed kernel with its envelope.

        Args:
            key: of the kernel.
            content: the packed kernel.
            cubin: the machine code in it.
            provenance: what it was made from.

        Raises:
            InputError: ``SOURCE_DATE_EPOCH`` is not a number.
        """
        subjects = {key: sha256_of(content), "kernel.cubin": sha256_of(cubin)}
        source = provenance.sources.get(key)
        sources = {"kernel.cu": source} if source else {}
        return _sealed(self.envelope(key, subjects, provenance, sources), content)

    def seal(self, name: str, content: bytes, provenance: Provenance) -> bytes:
        """Any other content with its envelope.

        Args:
            name: of the object that holds it.
            content: of the object.
            provenance: what it was made from.

        Raises:
            InputError: ``SOURCE_DATE_EPOCH`` is not a number.
        """
        return _sealed(self.envelope(name, {name: sha256_of(content)}, provenance), content)

    def envelope(
        self, name: str, subjects: dict[str, str], provenance: Provenance, sources: dict[str, str] | None = None
    ) -> bytes:
        """The envelope of a statement about these subjects (name -> sha256)."""
        statement = statement_of(name, subjects, provenance, serial_of_now(), sources or {})
        return Envelope.sign(statement, self.keys).encoded()


def _sealed(envelope: bytes, content: bytes) -> bytes:
    return _FORMAT + b"%d\n" % len(envelope) + envelope + content


def open_seal(content: bytes) -> tuple[bytes | None, bytes]:
    """(envelope, what it is about); nothing of either is looked into. The envelope is ``None`` where there is no seal.

    Raises:
        ValueError: it is cut.
    """
    if not content.startswith(_FORMAT):
        return None, content
    length, newline, _ = content[len(_FORMAT) : len(_FORMAT) + _MAX_DIGITS + 1].partition(b"\n")
    if not newline or not length.isdigit():
        raise ValueError("it is cut")
    start = len(_FORMAT) + len(length) + 1
    end = start + int(length)
    if str(int(length)).encode() != length or end > len(content):
        raise ValueError("it is cut")
    return content[start:end], content[end:]


def sha256_of(content: bytes) -> str:
    """In hex."""
    return hashlib.sha256(content).hexdigest()
