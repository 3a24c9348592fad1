"""A gate with a policy: it takes what certain keys have signed."""

from __future__ import annotations

from kregistry.remote.open_gate import BUNDLE_SUBJECT, Gate, unsealed
from kregistry.store.cubin import architecture_of
from kregistry.store.packed import PackedKernel, unpack
from kregistry.trust.keys import require_cryptography
from kregistry.trust.policy import Policy
from kregistry.trust.seal import Signer, sha256_of
from kregistry.trust.serials import Serials
from kregistry.trust.verifier import Accepted, Verifier, check_target


class PolicyGate(Gate):
    """Takes what a policy takes. Nothing of an object is parsed before its signature was found to be right."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        #: What was accepted and is not remembered yet, by the key of the kernel; empty for the bundle.
        self._accepted: dict[str, Accepted] = {}

    def take(self, key: str, content: bytes) -> PackedKernel:
        envelope, packed = unsealed(content)
        accepted = self._verifier.check(envelope, sha256_of(packed), key, key)
        kernel = unpack(key, packed)
        check_target(accepted.key, architecture_of(kernel.cubin))
        self._accepted[key] = accepted
        return kernel

    def take_other(self, name: str, content: bytes) -> bytes:
        envelope, other = unsealed(content)
        self._accepted[name] = self._verifier.check(envelope, sha256_of(other), name, name)
        return other

    def check_bundle(self, content: bytes, envelope: bytes | None) -> None:
        self._accepted[""] = self._verifier.check(envelope, sha256_of(content), BUNDLE_SUBJECT)

    def remember(self) -> None:
        for key in list(self._accepted):
            accepted = self._accepted.pop(key, None)  # another thread may be faster
            if accepted is not None:
                self._verifier.accept(accepted, key)


def policy_gate(policy: Policy | None, signer: Signer | None, remote: str, serials: Serials | None) -> PolicyGate:
    """The gate of one remote.

    Args:
        policy: whose kernels are taken; ``None``: those that ``signer`` has signed.
        signer: of this process.
        remote: URL without secrets and options.
        serials: what was accepted before.

    Raises:
        MissingRequirement: the package cryptography is not installed.
    """
    require_cryptography()
    taken = policy or Policy.of_keys(signer.public_keys if signer else ())
    return PolicyGate(Verifier(taken, remote, serials))
