"""Signed objects of a remote: every change, every key that may not sign, and every replay is refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from memory_tier import MemoryTier
from signing import NOW, REMOTE, gate, policy_file, signing_key
from small_kernels import small_kernel
from trees import tree

from kregistry.errors import TrustError
from kregistry.kernel import Kernel
from kregistry.remote.chain import Chain, object_name, pack_signed
from kregistry.remote.gate import ClosedGate, Gate, TrustSettings
from kregistry.remote.location import Location
from kregistry.store import Store
from kregistry.trust.envelope import Envelope
from kregistry.trust.outcome import TrustOutcome
from kregistry.trust.policy import Policy
from kregistry.trust.seal import Signer, open_seal
from kregistry.trust.statement import SOURCE_DATE_EPOCH, Provenance

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]
PROVENANCE = Provenance("h100", {"deep_gemm": "0.1.4.post1", "nvcc": "13.0.88"})


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOURCE_DATE_EPOCH, str(int(NOW)))


@pytest.fixture
def reader(tmp_path: Path) -> Store:
    store = Store(tmp_path / "reader")
    store.open()
    return store


def signed(store: Store, key: str, *names: str, provenance: Provenance = PROVENANCE) -> bytes:
    """The object of a kernel, signed with the keys of these names."""
    content = pack_signed(store, key, Signer(tuple(map(signing_key, names))), provenance)
    assert content is not None
    return content


def outcome(reader: Store, key: str, content: bytes, opened: Gate) -> str:
    """Fetch an object; the name of the reason why it is refused. Nothing is written then."""
    tier = MemoryTier(REMOTE)
    tier.objects[object_name(key)] = content
    chain = Chain([tier], [opened])
    before = tree(reader.directory)
    if chain.fetch(key, reader):
        assert reader.get(key) is not None and not chain.rejections
        return "taken"
    assert tree(reader.directory) == before
    (rejection,) = chain.rejections
    assert chain.use[0].refused == {rejection.outcome: 1} and rejection.outcome in chain.summaries()[0]
    assert (rejection.remote, rejection.subject) == (REMOTE, f"kernel {key[:16]}")
    return rejection.outcome


def test_a_signed_kernel_is_taken(full: Store, reader: Store, kernel: Kernel, tmp_path: Path) -> None:
    content = signed(full, kernel.key, "a")
    assert outcome(reader, kernel.key, content, gate(tmp_path, "b", "a")) == "taken"
    assert outcome(Store(tmp_path / "other"), kernel.key, content, Gate()) == "taken"  # ?unsigned


def test_every_changed_byte_is_found(full: Store, reader: Store, kernel: Kernel, tmp_path: Path) -> None:
    """In the envelope, the statement, the signature, the record and the cubin: nothing of it is taken."""
    content, opened = signed(full, kernel.key, "a"), gate(tmp_path, "a")
    names = {each.label for each in TrustOutcome}
    seen = set()
    envelope, _ = open_seal(content)
    assert envelope is not None
    ahead = len(content) - len(envelope)
    for place in [*range(0, len(envelope) + 200, 3), *range(len(content) - ahead, len(content), 509)]:
        changed = content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        seen.add(outcome(reader, kernel.key, changed, opened))
    assert seen <= names and {"malformed-envelope", "bad-signature", "unknown-key", "digest-mismatch"} <= seen


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda content: content[: len(content) // 2], "digest-mismatch"),
        (lambda content: content[:200], "malformed-envelope"),
        (lambda content: content[:19], "malformed-envelope"),
        (lambda content: content + b"x", "digest-mismatch"),
        (lambda content: open_seal(content)[1], "unsigned"),
        (lambda content: content.replace(b"signed 1", b"signed 2"), "unsigned"),
        (lambda content: b"kregistry signed 1\n99999999999999999999\n", "malformed-envelope"),
        (lambda content: b"kregistry signed 1\n0\n" + content, "malformed-envelope"),
        (lambda content: b"", "unsigned"),
        (lambda content: b"<html>please log in</html>", "unsigned"),
    ],
)
def test_a_changed_object(
    full: Store, reader: Store, kernel: Kernel, tmp_path: Path, change: Callable[[bytes], bytes], expected: str
) -> None:
    assert outcome(reader, kernel.key, change(signed(full, kernel.key, "a")), gate(tmp_path, "a")) == expected


def test_a_right_object_under_another_key(
    full: Store, reader: Store, kernel: Kernel, cubin: bytes, tmp_path: Path
) -> None:
    other = small_kernel("other")
    full.put(other, cubin, "nvcc", 1.0)
    opened = gate(tmp_path, "a")
    one, two = (signed(full, each, "a") for each in (kernel.key, other.key))
    assert outcome(reader, other.key, one, opened) == "not-covered"
    mixed = two[: len(two) - len(open_seal(two)[1])] + open_seal(one)[1]
    assert outcome(reader, other.key, mixed, opened) == "digest-mismatch"


@pytest.mark.parametrize(
    ("signers", "rules", "expected"),
    [
        (("a",), "", "taken"),
        (("x",), "", "unknown-key"),
        (("x", "a"), "", "taken"),
        (("a",), "revoked: true", "revoked-key"),
        (("a", "b"), "revoked: true", "taken"),
        (("a",), "valid_until: 2026-05-28", "key-expired"),
        (("a",), "valid_until: 2026-05-29", "taken"),
        (("a",), "valid_from: 2026-05-28", "taken"),
        (("a",), "valid_from: 2026-05-29", "key-not-yet-valid"),
        (("a",), "targets: [h100]", "taken"),
        (("a",), "targets: [b200]", "wrong-target"),
        (("a",), 'deep_gemm: ["0.1.4*"]', "taken"),
        (("a",), 'deep_gemm: ["0.2*"]', "wrong-stack"),
        (("a",), 'remotes: ["s3://team/*"]', "taken"),
        (("a",), 'remotes: ["s3://team"]', "wrong-remote"),
    ],
)
def test_rules_of_a_key(
    full: Store, reader: Store, kernel: Kernel, tmp_path: Path, signers: tuple[str, ...], rules: str, expected: str
) -> None:
    """Two keys can be valid at once, and one of them can be revoked."""
    content = signed(full, kernel.key, *signers)
    assert outcome(reader, kernel.key, content, gate(tmp_path, "a", "b", a=rules)) == expected


def test_a_key_that_expires_takes_its_kernels_with_it(
    full: Store, reader: Store, kernel: Kernel, tmp_path: Path
) -> None:
    content, rules = signed(full, kernel.key, "a"), "valid_until: 2026-06-15"
    assert outcome(reader, kernel.key, content, gate(tmp_path, "a", now=NOW + 30 * 86400, a=rules)) == "key-expired"
    assert outcome(reader, kernel.key, content, gate(tmp_path, "a", a=rules)) == "taken"


def test_a_bad_signature_of_a_known_key(full: Store, reader: Store, kernel: Kernel, tmp_path: Path) -> None:
    content = signed(full, kernel.key, "x").replace(
        signing_key("x").public.id.encode(), signing_key("a").public.id.encode()
    )
    assert outcome(reader, kernel.key, content, gate(tmp_path, "a")) == "bad-signature"


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"_type":"https://in-toto.io/Statement/v1"}', b"\xff"])
def test_a_signed_payload_that_is_no_statement(
    full: Store, reader: Store, kernel: Kernel, tmp_path: Path, payload: bytes
) -> None:
    envelope = Envelope.sign(payload, [signing_key("a")]).encoded()
    content = b"kregistry signed 1\n%d\n" % len(envelope) + envelope
    assert outcome(reader, kernel.key, content, gate(tmp_path, "a")) == "malformed-statement"


def test_an_older_statement_is_refused_after_a_newer_one(
    full: Store, reader: Store, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = signed(full, kernel.key, "a")
    monkeypatch.setenv(SOURCE_DATE_EPOCH, str(int(NOW) + 60))
    new, of_another_key = signed(full, kernel.key, "a"), signed(full, kernel.key, "b")
    for content, expected in ((old, "taken"), (new, "taken"), (of_another_key, "taken"), (old, "rolled-back")):
        assert outcome(reader, kernel.key, content, gate(tmp_path, "a", "b")) == expected
    assert outcome(reader, kernel.key, old, gate(tmp_path, "a", remote="s3://other/k")) == "taken"
    for path in (tmp_path / "serials").rglob("*.json"):
        path.write_text("{}")  # whoever can write the store needs no remote
    assert outcome(reader, kernel.key, old, gate(tmp_path, "a")) == "taken"


def test_a_statement_of_tomorrow_would_shut_out_all_others(
    full: Store, reader: Store, kernel: Kernel, tmp_path: Path
) -> None:
    content = signed(full, kernel.key, "a")
    assert outcome(reader, kernel.key, content, gate(tmp_path, "a", now=NOW - 3 * 86400)) == "from-the-future"
    assert outcome(reader, kernel.key, content, gate(tmp_path, "a", now=NOW - 3600)) == "taken"


def test_a_nearer_tier_gets_only_what_its_readers_would_take(
    full: Store, reader: Store, kernel: Kernel, tmp_path: Path
) -> None:
    near, far = MemoryTier("near"), MemoryTier("far")
    far.objects[object_name(kernel.key)] = signed(full, kernel.key, "x")
    assert Chain([near, far], [gate(tmp_path, "a"), Gate()]).fetch(kernel.key, reader) and near.objects == {}
    far.objects[object_name(kernel.key)] = signed(full, kernel.key, "a")
    other = Store(tmp_path / "other")
    assert Chain([near, far], [gate(tmp_path, "a"), Gate()]).fetch(kernel.key, other) and near.objects == far.objects


def test_a_required_remote_whose_kernel_is_refused_is_an_error(
    full: Store, reader: Store, kernel: Kernel, tmp_path: Path
) -> None:
    tier = MemoryTier(REMOTE)
    tier.objects[object_name(kernel.key)] = signed(full, kernel.key, "x")
    with pytest.raises(TrustError) as caught:
        Chain([tier], [gate(tmp_path, "a")], required=True).fetch(kernel.key, reader)
    assert str(caught.value).startswith(f"remote {REMOTE}: kernel {kernel.key[:16]}: unknown-key: no key of the policy")
    assert (caught.value.exit_code, caught.value.rejections[0].outcome) == (6, "unknown-key")


def test_without_settings_a_remote_is_read_only_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    location = Location.parse(str(tmp_path))
    chain = Chain.open([location])
    assert not chain and not chain.writable
    (warning, hint) = (each.getMessage() for each in caplog.records)
    assert warning.startswith(f"remote {location.url} is read-only, and nothing is taken from it: no-policy: ")
    assert "--trust" in hint and "?unsigned" in hint
    with pytest.raises(TrustError, match="no-policy"):
        Chain.open([location], required=True)
    assert Chain.open([location], reads=False)


def test_unsigned_goes_before_a_policy_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = TrustSettings(Policy.read(policy_file(tmp_path, "a")))
    location = Location.parse(f"{tmp_path}?unsigned")
    assert type(settings.gate(location)) is Gate and Chain.open([location], settings)
    assert f"?unsigned: the policy {tmp_path / 'trust.yaml'} is not applied" in caplog.text


def test_whoever_signs_takes_its_own_kernels(full: Store, reader: Store, kernel: Kernel, tmp_path: Path) -> None:
    settings = TrustSettings(signer=Signer((signing_key("a"),)))
    location = Location.parse(str(tmp_path / "remote"))
    chain = Chain.open([location], settings)
    assert chain.writable and chain.push(kernel.key, full) and chain.fetch(kernel.key, reader)
    assert isinstance(TrustSettings().gate(location), ClosedGate)
    assert not Chain.open([Location.parse(f"{tmp_path / 'remote'}?ro")], settings).writable


def test_another_object_is_taken_under_the_same_rules(full: Store, kernel: Kernel, tmp_path: Path) -> None:
    """A result of a self-check, for example: signed under its own name by a key of the policy."""
    name, other, content = "v1/front_ends/ab/abcd", "v1/front_ends/ab/ffff", b"identical"
    tier = MemoryTier(REMOTE)
    assert Chain([tier], signer=Signer((signing_key("a"),))).write(name, content)
    made = tier.objects[name]

    def read(name: str, made: bytes, opened: Gate) -> tuple[bytes | None, str]:
        from_here = MemoryTier(REMOTE)
        from_here.objects[name] = made
        chain = Chain([from_here], [opened])
        found = chain.read(name)
        chain.remember()
        return found, "".join(each.outcome for each in chain.rejections)

    assert read(name, made, gate(tmp_path, "a")) == (content, "")
    assert read(name, made, Gate()) == (content, "")
    assert read(name, content, Gate()) == (content, "")  # ?unsigned
    assert read(name, content, gate(tmp_path, "a")) == (None, "unsigned")
    assert read(name, made, gate(tmp_path, "b")) == (None, "unknown-key")
    assert read(other, made, gate(tmp_path, "a")) == (None, "not-covered")
    assert read(name, made[:-1] + b"x", gate(tmp_path, "a")) == (None, "digest-mismatch")
    assert read(name, made, ClosedGate()) == (None, "no-policy")
    assert read(name, signed(full, kernel.key, "a"), gate(tmp_path, "a")) == (None, "not-covered")
