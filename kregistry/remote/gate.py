"""What is taken from a tier, and what is written to it: by its signature, by ``?unsigned``, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from kregistry.remote.location import Location
from kregistry.store.cubin import architecture_of
from kregistry.store.packed import PackedKernel, unpack
from kregistry.trust.keys import SigningKey, require_cryptography
from kregistry.trust.outcome import Outcome, Refused
from kregistry.trust.policy import KREGISTRY_TRUST, Policy
from kregistry.trust.seal import Signer, open_seal, sha256_of
from kregistry.trust.serials import Serials
from kregistry.trust.verifier import Accepted, Verifier, check_target

#: Names files of private keys, separated by colons.
KREGISTRY_SIGN = "KREGISTRY_SIGN"
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
            Refused: it is not taken.
            DamagedEntry: it is not this kernel, or not intact.
        """
        return unpack(key, _unsealed(content)[1])

    def take_other(self, name: str, content: bytes) -> bytes:
        """The content of an object that holds no kernel, without its signature.

        Args:
            name: of the object, which its signature must name.
            content: of the object.

        Raises:
            Refused: it is not taken.
        """
        return _unsealed(content)[1]

    def check_bundle(self, content: bytes, envelope: bytes | None) -> None:
        """Called before a bundle is unpacked.

        Raises:
            Refused: it is not taken.
        """

    def remember(self) -> None:
        """Called after what was taken has been stored: an older statement about it will be refused."""


class ClosedGate(Gate):
    """Takes nothing: nobody has said whose kernels are taken."""

    closed = True

    def take(self, key: str, content: bytes) -> PackedKernel:
        raise Refused(Outcome.NO_POLICY)

    def take_other(self, name: str, content: bytes) -> bytes:
        raise Refused(Outcome.NO_POLICY)

    def check_bundle(self, content: bytes, envelope: bytes | None) -> None:
        raise Refused(Outcome.NO_POLICY)


class PolicyGate(Gate):
    """Takes what a policy takes. Nothing of an object is parsed before its signature was found to be right."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        #: What was accepted and is not remembered yet, by the key of the kernel; empty for the bundle.
        self._accepted: dict[str, Accepted] = {}

    def take(self, key: str, content: bytes) -> PackedKernel:
        envelope, packed = _unsealed(content)
        accepted = self._verifier.check(envelope, sha256_of(packed), key, key)
        kernel = unpack(key, packed)
        check_target(accepted.key, architecture_of(kernel.cubin))
        self._accepted[key] = accepted
        return kernel

    def take_other(self, name: str, content: bytes) -> bytes:
        envelope, other = _unsealed(content)
        self._accepted[name] = self._verifier.check(envelope, sha256_of(other), name, name)
        return other

    def check_bundle(self, content: bytes, envelope: bytes | None) -> None:
        self._accepted[""] = self._verifier.check(envelope, sha256_of(content), BUNDLE_SUBJECT)

    def remember(self) -> None:
        for key in list(self._accepted):
            accepted = self._accepted.pop(key, None)  # another thread may be faster
            if accepted is not None:
                self._verifier.accept(accepted, key)


@frozen
class TrustSettings:
    """What the user has said about signatures.

    Attributes:
        policy: whose kernels are taken; ``None``: nothing was said.
        signer: signs what is written; ``None``: nothing is signed.
        serials: what was accepted before.
    """

    policy: Policy | None = None
    signer: Signer | None = None
    serials: Serials | None = field(default=None, eq=False)

    def of_store(self, store: Path) -> TrustSettings:
        """The same, with the memory of a store."""
        return evolve(self, serials=Serials(store))

    @classmethod
    def read(
        cls,
        policy: Path | None = None,
        keys: Iterable[Path] = (),
        store: Path | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> TrustSettings:
        """Read the files that options name, or else those that ``KREGISTRY_TRUST`` and ``KREGISTRY_SIGN`` name.

        Args:
            policy: the policy.
            keys: private keys.
            store: remembers what was accepted.
            environment: of the process.

        Raises:
            InputError: a file is wrong.
            StorageError: a file cannot be read.
            MissingRequirement: a key is named, and the package cryptography is not installed.
        """
        named = str(policy or environment.get(KREGISTRY_TRUST, ""))
        files = tuple(keys) or tuple(Path(each) for each in environment.get(KREGISTRY_SIGN, "").split(":") if each)
        signer = Signer(tuple(SigningKey.read(each, environment) for each in files)) if files else None
        return cls(Policy.read(named) if named else None, signer, None if store is None else Serials(store))

    def gate(self, location: Location) -> Gate:
        """The gate of one tier. Whoever signs takes what it has signed itself.

        Whoever can install a wheel can run code here, so its kernels need no signature, unless there is a policy.

        Raises:
            MissingRequirement: a policy needs the package cryptography, which is not installed.
        """
        policy = self.policy
        if policy is None and location.wheel() is not None:
            return Gate()
        if location.unsigned:
            return Gate()
        if policy is None and self.signer is not None:
            policy = Policy.of_keys(self.signer.public_keys)
        if policy is None:
            return ClosedGate()
        require_cryptography()
        return PolicyGate(Verifier(policy, location.url, self.serials))

    def writable(self, location: Location) -> Location:
        """The location, writable if what is written will be signed."""
        return evolve(location, read_only=location.never_written) if self.signer else location


def _unsealed(content: bytes) -> tuple[bytes | None, bytes]:
    try:
        return open_seal(content)
    except ValueError as error:
        raise Refused(Outcome.MALFORMED_ENVELOPE, str(error)) from error
