"""Files of private keys, and public keys as text."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from signing import key_file, private_key, signing_key

from kregistry.errors import InputError, StorageError
from kregistry.trust.keys import KREGISTRY_PASSPHRASE, PublicKey, SigningKey


def test_a_new_key_is_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "k.key"
    made = SigningKey.create(path, {})
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.read(path, {}).public == made.public
    content = path.read_bytes()
    with pytest.raises(InputError, match="it is there already"):
        SigningKey.create(path, {})
    assert path.read_bytes() == content


def test_the_id_is_the_one_of_openssl() -> None:
    public = private_key("a").public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert signing_key("a").public.id == hashlib.sha256(der).hexdigest()


def test_a_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "k.key"
    made = SigningKey.create(path, {KREGISTRY_PASSPHRASE: "secret"})
    assert b"ENCRYPTED" in path.read_bytes()
    assert SigningKey.read(path, {KREGISTRY_PASSPHRASE: "secret"}).public == made.public
    with pytest.raises(InputError, match="the key has a passphrase"):
        SigningKey.read(path, {})
    with pytest.raises(InputError, match="does not open this key"):
        SigningKey.read(path, {KREGISTRY_PASSPHRASE: "wrong"})


def test_files_that_are_no_private_key(tmp_path: Path) -> None:
    path = tmp_path / "k.key"
    for content in (b"", b"x", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a private key in PEM form"):
            SigningKey.read(path, {})
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    other = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(other.private_bytes(encoding, form, serialization.NoEncryption()))
    with pytest.raises(InputError, match="expected Ed25519"):
        SigningKey.read(path, {})
    with pytest.raises(InputError, match="No such file"):
        SigningKey.read(tmp_path / "none", {})


def test_a_key_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = key_file(tmp_path, "a")
    SigningKey.read(path, {})
    assert not caplog.records
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        SigningKey.read(path, {})
    assert "can be read by others (mode 644)" in caplog.text


@pytest.mark.parametrize("text", ["", "ed25519:", "rsa:AAAA", "ed25519:AAAA", "ed25519:ä", f"ed25519:{'A' * 42}B="])
def test_texts_that_are_no_public_key(text: str) -> None:
    with pytest.raises(ValueError):
        PublicKey.parse(text)


def test_a_signature_of_the_wrong_length_is_wrong() -> None:
    key = signing_key("a")
    assert key.public.has_signed(b"x", key.sign(b"x"))
    assert not key.public.has_signed(b"y", key.sign(b"x"))
    assert not key.public.has_signed(b"x", key.sign(b"x")[:-1])


def test_a_full_disk_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdopen", full)
        with pytest.raises(StorageError):
            SigningKey.create(tmp_path / "k.key", {})
    assert list(tmp_path.iterdir()) == []
