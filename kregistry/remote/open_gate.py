"""The gate of a tier that may hold unsigned kernels: it takes whatever is intact."""

from __future__ import annotations

from kregistry.store.packed import PackedKernel, unpack
from kregistry.trust.outcome import NotTrusted, TrustOutcome

#: What the statement of a bundle calls the file.
BUNDLE_SUBJECT = "bundle"


class Gate:
    """Takes whatever is intact: for a tier that may hold unsigned kernels."""

    #: Whether nothing is taken, so that nothing needs to be asked for.
    closed = False

    def take(self, key: str, content: bytes) -> PackedKernel:
        """The kernel that an object holds.

        Args:
            key: the kernel that was asked for.
            content: of the object.

        Raises:
            NotTrusted: it is not taken.
            DamagedEntry: it is not this kernel, or not intact.
        """
        return unpack(key, unsealed(content)[1])

    def take_other(self, name: str, content: bytes) -> bytes:
        """The content of an object that holds no kernel, without its signature.

        Args:
            name: of the object, which its signature must name.
            content: of the object.

        Raises:
            NotTrusted: it is not taken.
        """
        return unsealed(content)[1]

    def check_bundle(self, content: bytes, envelope: bytes | None) -> None:
        """Called before a bundle is unpacked.

        Raises:
            NotTrusted: it is not taken.
        """

    def remember(self) -> None:
        """Called after what was taken has been stored: an older statement about it will be refused."""


def unsealed(content: bytes) -> tuple[bytes | None, bytes]:
    """(envelope, content) of an object; ``None`` if it is not signed.

    Raises:
        NotTrusted: its envelope is malformed.
    """
    from kregistry.trust.seal import open_seal

    try:
        return open_seal(content)
    except ValueError as error:
        raise NotTrusted(TrustOutcome.MALFORMED_ENVELOPE, str(error)) from error
