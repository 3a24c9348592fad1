"""What is taken from a tier, and what is written to it: by its signature, by ``?unsigned``, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from kregistry.remote.location import Location
from kregistry.remote.open_gate import BUNDLE_SUBJECT as BUNDLE_SUBJECT
from kregistry.remote.open_gate import Gate as Gate
from kregistry.store.packed import PackedKernel
from kregistry.trust.outcome import NotTrusted, TrustOutcome
from kregistry.trust.serials import Serials

if TYPE_CHECKING:
    from kregistry.trust.policy import Policy
    from kregistry.trust.seal import Signer

#: Names the file of a policy.
KREGISTRY_TRUST = "KREGISTRY_TRUST"
#: Names files of private keys, separated by colons.
KREGISTRY_SIGN = "KREGISTRY_SIGN"


class ClosedGate(Gate):
    """Takes nothing: nobody has said whose kernels are taken."""

    closed = True

    def take(self, key: str, content: bytes) -> PackedKernel:
        raise NotTrusted(TrustOutcome.NO_POLICY)

    def take_other(self, name: str, content: bytes) -> bytes:
        raise NotTrusted(TrustOutcome.NO_POLICY)

    def check_bundle(self, content: bytes, envelope: bytes | None) -> None:
        raise NotTrusted(TrustOutcome.NO_POLICY)


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
        if not named and not files:
            return cls(serials=None if store is None else Serials(store))
        from kregistry.trust.keys import SigningKey
        from kregistry.trust.policy import Policy
        from kregistry.trust.seal import Signer

        signer = Signer(tuple(SigningKey.read(each, environment) for each in files)) if files else None
        return cls(Policy.read(named) if named else None, signer, None if store is None else Serials(store))

    def gate(self, location: Location) -> Gate:
        """The gate of one tier. Whoever signs takes what it has signed itself.

        Whoever can install a wheel can run code here, so its kernels need no signature, unless there is a policy.

        Raises:
            MissingRequirement: a policy needs the package cryptography, which is not installed.
        """
        if location.unsigned or (self.policy is None and location.wheel() is not None):
            return Gate()
        if self.policy is None and self.signer is None:
            return ClosedGate()
        from kregistry.remote.policy_gate import policy_gate

        return policy_gate(self.policy, self.signer, location.url, self.serials)

    def writable(self, location: Location) -> Location:
        """The location, writable if what is written will be signed."""
        return evolve(location, read_only=location.never_written) if self.signer else location
