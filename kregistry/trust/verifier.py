"""Checks an envelope against a policy: the signature first, then the statement, then what the statement is about."""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import frozen

from kregistry.trust.envelope import Envelope
from kregistry.trust.outcome import NotTrusted, TrustOutcome
from kregistry.trust.policy import Policy, TrustedKey, matches
from kregistry.trust.serials import Serials
from kregistry.trust.statement import Statement

#: How far the clocks of two machines may be apart, in seconds.
_CLOCKS = 24 * 3600.0


@frozen
class Accepted:
    """A statement whose signature and rules are right.

    Attributes:
        statement: what was signed.
        key: who signed it.
    """

    statement: Statement
    key: TrustedKey


class Verifier:
    """Checks what comes from one remote.

    Args:
        policy: whose kernels are taken.
        remote: URL without secrets and options.
        serials: what was accepted before; ``None``: nothing is remembered.
        clock: gives seconds since 1970.
    """

    def __init__(
        self, policy: Policy, remote: str, serials: Serials | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._policy = policy
        self._remote = remote
        self._serials = serials
        self._clock = clock

    def check(self, raw: bytes | None, sha256: str, subject: str, name: str = "") -> Accepted:
        """Check the envelope of something.

        Args:
            raw: the envelope; ``None`` if there is none.
            sha256: of the content that came with it, in hex. The content itself is not looked into.
            subject: the name of the content in the statement.
            name: what the statement must be about; empty: whatever it says.

        Raises:
            NotTrusted: the content is not taken.
        """
        if raw is None:
            raise NotTrusted(TrustOutcome.UNSIGNED)
        try:
            envelope = Envelope.read(raw)
        except ValueError as error:
            raise NotTrusted(TrustOutcome.MALFORMED_ENVELOPE, str(error)) from error
        signers = self._signers(envelope)
        try:
            statement = Statement.parse(envelope.payload)
        except ValueError as error:
            raise NotTrusted(TrustOutcome.MALFORMED_STATEMENT, str(error)) from error
        key = self._accepted_key(signers, statement)
        if name and statement.name != name:
            raise NotTrusted(TrustOutcome.NOT_COVERED, f"it is about {statement.name[:64]}")
        signed = statement.subjects.get(subject)
        if signed is None:
            raise NotTrusted(TrustOutcome.NOT_COVERED, f"it has no subject {subject[:64]}")
        if signed != sha256:
            raise NotTrusted(TrustOutcome.DIGEST_MISMATCH, f"sha256 {sha256[:16]}..., signed was {signed[:16]}...")
        if statement.serial / 1000 > self._clock() + _CLOCKS:
            raise NotTrusted(TrustOutcome.FROM_THE_FUTURE, f"serial {statement.serial}")
        self._check_serial(statement, name)
        return Accepted(statement, key)

    def accept(self, accepted: Accepted, name: str = "") -> None:
        """Remember the serial of what was taken, with the same ``name`` as for :meth:`check`."""
        if self._serials is not None:
            self._serials.try_to_remember(*self._scope(accepted.statement, name), accepted.statement.serial)

    def _signers(self, envelope: Envelope) -> list[TrustedKey]:
        """The keys of the policy that have signed."""
        right = set(envelope.signed_by(each.public for each in self._policy.keys))
        signers = [each for each in self._policy.keys if each.public in right]
        if signers:
            return signers
        named = {each.key_id for each in envelope.signatures}
        known = next((each for each in self._policy.keys if each.public.id in named), None)
        if known is not None:
            raise NotTrusted(TrustOutcome.BAD_SIGNATURE, f"key {known.name}")
        raise NotTrusted(TrustOutcome.UNKNOWN_KEY, f"signed by {', '.join(each[:16] for each in sorted(named))}")

    def _accepted_key(self, signers: list[TrustedKey], statement: Statement) -> TrustedKey:
        """The first of the keys that have signed to which no rule objects."""
        first: NotTrusted | None = None
        for key in signers:
            try:
                self._check_rules(key, statement)
            except NotTrusted as refused:
                first = first or refused
            else:
                return key
        assert first is not None
        raise first

    def _check_rules(self, key: TrustedKey, statement: Statement) -> None:
        now, signed = self._clock(), statement.serial / 1000
        if key.revoked:
            raise NotTrusted(TrustOutcome.REVOKED_KEY, f"key {key.name}")
        if min(now, signed) < key.valid_from:
            raise NotTrusted(TrustOutcome.KEY_NOT_YET_VALID, f"key {key.name}")
        if max(now, signed) >= key.valid_until:
            raise NotTrusted(TrustOutcome.KEY_EXPIRED, f"key {key.name}")
        if not matches(self._remote, key.remotes):
            raise NotTrusted(TrustOutcome.WRONG_REMOTE, f"key {key.name}")
        if not matches(statement.deep_gemm, key.deep_gemm):
            raise NotTrusted(TrustOutcome.WRONG_STACK, f"key {key.name}, DeepGEMM {statement.deep_gemm or 'unknown'}")

    def _check_serial(self, statement: Statement, name: str) -> None:
        if self._serials is None:
            return
        last = self._serials.last(*self._scope(statement, name))
        if statement.serial < last:
            raise NotTrusted(TrustOutcome.ROLLED_BACK, f"serial {statement.serial}, and {last} was accepted before")

    def _scope(self, statement: Statement, name: str) -> tuple[str, str]:
        """A kernel is remembered for each remote, a bundle wherever it comes from."""
        return (self._remote, name) if name else ("", statement.name)


def check_target(key: TrustedKey, architecture: int) -> None:
    """
    Raises:
        NotTrusted: the policy does not take kernels of this key for this architecture (90).
    """
    if key.architectures is not None and architecture not in key.architectures:
        raise NotTrusted(TrustOutcome.WRONG_TARGET, f"key {key.name}, sm_{architecture}")
