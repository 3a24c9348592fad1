"""Keys, policies and signed objects for tests: the same in every run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kregistry.remote.policy_gate import PolicyGate
from kregistry.trust.keys import PublicKey, SigningKey
from kregistry.trust.policy import Policy
from kregistry.trust.serials import Serials
from kregistry.trust.verifier import Verifier

pytest.importorskip("cryptography", reason="signatures need the package cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: Seconds since 1970 at which tests sign and check, where they do not use the clock.
NOW = 1_780_000_000.0  # 2026-05-28
REMOTE = "s3://team/kernels"


def private_key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def signing_key(name: str) -> SigningKey:
    """The key of this name."""
    private = private_key(name)
    return SigningKey(PublicKey(private.public_key().public_bytes_raw()), private)


def key_file(directory: Path, name: str) -> Path:
    """The same in a file, as openssl writes it."""
    path = directory / f"{name}.key"
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(private_key(name).private_bytes(encoding, form, serialization.NoEncryption()))
    path.chmod(0o600)
    return path


def policy_text(*names: str, **more: str) -> str:
    """A policy that trusts these keys; ``more`` has further lines of a key by its name."""
    lines = ["version: 1", "keys:"]
    for name in names:
        public = signing_key(name).public
        lines += [f"  {name}:", f"    id: {public.id}", f"    key: {public.text}"]
        lines += [f"    {line}" for line in more.get(name, "").splitlines()]
    return "\n".join(lines) + "\n"


def policy_file(directory: Path, *names: str, **more: str) -> Path:
    path = directory / "trust.yaml"
    path.write_text(policy_text(*names, **more))
    return path


def gate(directory: Path, *names: str, now: float = NOW, remote: str = REMOTE, **more: str) -> PolicyGate:
    """The gate of a remote; the store ``directory`` remembers what was accepted."""
    policy = Policy.read(policy_file(directory, *names, **more))
    return PolicyGate(Verifier(policy, remote, Serials(directory), lambda: now))
