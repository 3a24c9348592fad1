"""What a check of a signature can come to. The list is closed: each outcome has a name and a text."""

from __future__ import annotations

import enum

from kregistry.errors import Rejection


class TrustOutcome(enum.Enum):
    """Why something from a remote is not taken: the name in messages and JSON, and what it means."""

    NO_POLICY = "no-policy", "nothing says whose kernels are taken from here"
    UNSIGNED = "unsigned", "it carries no signature"
    MALFORMED_ENVELOPE = "malformed-envelope", "its signature is not a DSSE envelope as kregistry writes it"
    UNKNOWN_KEY = "unknown-key", "no key of the policy has signed it"
    BAD_SIGNATURE = "bad-signature", "it names a key of the policy, and the signature is not of that key"
    REVOKED_KEY = "revoked-key", "the policy has revoked the key that signed it"
    KEY_NOT_YET_VALID = "key-not-yet-valid", "the key that signed it is not valid yet, or was not when it signed"
    KEY_EXPIRED = "key-expired", "the key that signed it is not valid any more"
    WRONG_REMOTE = "wrong-remote", "the policy does not take kernels of this key from this remote"
    WRONG_STACK = "wrong-stack", "the policy does not take kernels of this key for this DeepGEMM"
    WRONG_TARGET = "wrong-target", "the policy does not take kernels of this key for this GPU"
    MALFORMED_STATEMENT = "malformed-statement", "what was signed is not a statement of kregistry"
    NOT_COVERED = "not-covered", "the signed statement is about something else"
    DIGEST_MISMATCH = "digest-mismatch", "its content is not what was signed"
    FROM_THE_FUTURE = "from-the-future", "it was signed after today, by the clock of this machine"
    ROLLED_BACK = "rolled-back", "an older statement than one that was accepted before"

    def __init__(self, label: str, text: str) -> None:
        self.label = label
        self.text = text


class NotTrusted(Exception):
    """Something is not taken.

    Attributes:
        outcome: why.
        detail: what was found, in addition to the text of the outcome; may be empty.
    """

    def __init__(self, outcome: TrustOutcome, detail: str = "") -> None:
        super().__init__(outcome.label, detail)
        self.outcome = outcome
        self.detail = detail

    def of(self, remote: str, subject: str) -> Rejection:
        """The record of it for messages and reports.

        Args:
            remote: where it comes from.
            subject: what it is.
        """
        return Rejection(self.outcome.label, remote, subject, self.outcome.text, self.detail)
