"""Ed25519 keys: files of private keys, and public keys as one line of text."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from kregistry.bounded_input import read_input
from kregistry.errors import InputError, MissingRequirement, storage_errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: Names the passphrase of private keys.
KREGISTRY_PASSPHRASE = "KREGISTRY_PASSPHRASE"
_KIND = "ed25519:"
#: What stands before the 32 bytes of a key in the DER form of a public key (RFC 8410).
_DER_PREFIX = bytes.fromhex("302a300506032b6570032100")
_SIGNATURE_BYTES = 64
_MAX_KEY_FILE = 1 << 16
_log = logging.getLogger("kregistry.trust")


@frozen
class PublicKey:
    """A public key.

    Attributes:
        raw: its 32 bytes.
    """

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read ``ed25519:BASE64``.

        Raises:
            ValueError: it is not of this form.
        """
        if not text.startswith(_KIND):
            raise ValueError(f"expected {_KIND}BASE64")
        raw = decode(text.removeprefix(_KIND))
        if len(raw) != 32:
            raise ValueError(f"expected the 32 bytes of a key in base64, got {len(raw)}")
        return cls(raw)

    @property
    def text(self) -> str:
        return _KIND + base64.b64encode(self.raw).decode()

    @property
    def id(self) -> str:
        """sha256 of its DER form in hex, as ``openssl pkey -pubin -outform DER | sha256sum`` gives it."""
        return hashlib.sha256(_DER_PREFIX + self.raw).hexdigest()

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """
        Raises:
            MissingRequirement: the package cryptography is not installed.
        """
        require_cryptography()
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        if len(signature) != _SIGNATURE_BYTES:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@frozen
class SigningKey:
    """A private key, as its file holds it."""

    public: PublicKey
    _private: Ed25519PrivateKey = field(repr=False, eq=False)

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    @classmethod
    def read(cls, path: Path, environment: Mapping[str, str] = os.environ) -> SigningKey:
        """A private key in PEM form (PKCS 8): of ``kregistry keygen`` or ``openssl genpkey -algorithm ed25519``.

        Raises:
            InputError: there is no such file, or it is no Ed25519 key, or its passphrase is missing or wrong.
            StorageError: it cannot be read.
            MissingRequirement: the package cryptography is not installed.
        """
        require_cryptography()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        content = read_input(path, _MAX_KEY_FILE)
        passphrase = environment.get(KREGISTRY_PASSPHRASE, "").encode() or None
        locked = b"ENCRYPTED" in content
        if locked and passphrase is None:
            raise InputError(f"{path}: the key has a passphrase", f"set {KREGISTRY_PASSPHRASE} to it")
        try:
            private = load_pem_private_key(content, passphrase if locked else None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            if locked:
                raise InputError(f"{path}: {KREGISTRY_PASSPHRASE} does not open this key") from error
            hint = "kregistry keygen -o FILE writes one; signing takes the private key, not the public one"
            raise InputError(f"{path}: not a private key in PEM form", hint) from error
        if not isinstance(private, Ed25519PrivateKey):
            kind = type(private).__name__.lstrip("_").removesuffix("PrivateKey")
            raise InputError(
                f"{path}: a key of the kind {kind}; expected Ed25519", "kregistry keygen -o FILE writes one"
            )
        _warn_if_open(path)
        return cls(PublicKey(private.public_key().public_bytes_raw()), private)

    @classmethod
    def create(cls, path: Path, environment: Mapping[str, str] = os.environ) -> SigningKey:
        """Make a new key and write it to a new file that only its owner can read.

        Raises:
            InputError: there is such a file already: a key is never replaced.
            StorageError: it cannot be written.
            MissingRequirement: the package cryptography is not installed.
        """
        require_cryptography()
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = Ed25519PrivateKey.generate()
        passphrase = environment.get(KREGISTRY_PASSPHRASE, "").encode()
        encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        content = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        with storage_errors(path):
            try:
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            except FileExistsError as error:
                raise InputError(f"{path}: it is there already, and a key is never replaced") from error
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
            except OSError:  # a full disk: half a key would never be replaced
                path.unlink(missing_ok=True)
                raise
        return cls(PublicKey(private.public_key().public_bytes_raw()), private)


def decode(text: str) -> bytes:
    """Base64, in the one form that encodes its bytes.

    Raises:
        ValueError: it is not.
    """
    raw = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not base64 as it is written by standard encoders")
    return raw


def require_cryptography() -> None:
    """
    Raises:
        MissingRequirement: the package is not installed.
    """
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MissingRequirement(
            "signatures need the package cryptography, which is not installed", "pip install 'cryptography>=42'"
        ) from error


def _warn_if_open(path: Path) -> None:
    with storage_errors(path):
        mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        _log.warning("the key %s can be read by others (mode %o): chmod 600 makes it private", path, mode)
