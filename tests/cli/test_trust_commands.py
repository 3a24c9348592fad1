"""keygen, and kernels that are signed on one machine and checked on another."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result
from signing import key_file, policy_file, signing_key
from small_kernels import small_kernel
from trees import tree

from kregistry.kernel import Kernel
from kregistry.remote.bundle import signature_of
from kregistry.remote.chain import object_name
from kregistry.remote.gate import BUNDLE_SUBJECT
from kregistry.store import Store
from kregistry.trust.outcome import TrustOutcome
from kregistry.trust.policy import Policy
from kregistry.trust.seal import Signer, sha256_of
from kregistry.trust.statement import SOURCE_DATE_EPOCH, Provenance

DOCS = Path(__file__).resolve().parents[2] / "docs"
Run = Callable[..., Result]


def test_keygen_prints_the_policy_of_the_new_key(kregistry: Run, tmp_path: Path) -> None:
    made = kregistry("keygen", "-o", tmp_path / "release.key")
    assert made.code == 0 and made.out.startswith("version: 1\nkeys:\n  release:\n    id: ")
    policy = tmp_path / "trust.yaml"
    for name in ("", "true", "a: b", "1", "null", "- x", "#", "ä"):
        made = kregistry("keygen", "-o", tmp_path / f"{len(name)}{hash(name)}.key", "--name", name)
        policy.write_text(made.out)
        assert [each.name for each in Policy.read(policy).keys] == [name or f"0{hash('')}"]
    again = kregistry("keygen", "-o", tmp_path / "release.key")
    assert (again.code, "a key is never replaced" in again.err) == (2, True)


def test_the_schema_of_policies(kregistry: Run) -> None:
    assert "ed25519" in json.dumps(kregistry("schema", "--policy").json)


def test_every_outcome_is_documented() -> None:
    text = (DOCS / "security.md").read_text()
    for each in TrustOutcome:
        assert f"| `{each.label}` | {each.text} |" in text


class Machine:
    """A reader with a store of its own and a policy."""

    def __init__(self, run: Run, lock: Path, directory: Path, *trusted: str, **rules: str) -> None:
        directory.mkdir()
        self.run, self.lock, self.store = run, lock, directory / "store"
        self.policy = policy_file(directory, *trusted, **rules)

    def pull(self, remote: object) -> Result:
        """Pull; if it is refused, nothing was written."""
        before = tree(self.store)
        result = self.run("pull", remote, "--lock", self.lock, "--store", self.store, "--trust", self.policy)
        assert result.code in (0, 4, 6) and (result.code == 0 or tree(self.store) == before)
        return result


@pytest.fixture
def signed(
    kregistry: Run, lock: Path, session_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, int], Path]:
    """Makes a bundle that a key has signed at a time."""

    def make(key: str, when: int) -> Path:
        monkeypatch.setenv(SOURCE_DATE_EPOCH, str(1_780_000_000 + when))
        path = tmp_path / f"{key}{when}.tar.gz"
        arguments = ("--lock", lock, "--store", session_store.directory, "--sign", key_file(tmp_path, key))
        assert kregistry("bundle", *arguments, "--tar", path).code == 0
        return path

    return make


Signed = Callable[[str, int], Path]


def test_a_signed_remote(kregistry: Run, lock: Path, session_store: Store, tmp_path: Path) -> None:
    remote, key = tmp_path / "remote", key_file(tmp_path, "a")
    pushed = kregistry("push", remote, "--lock", lock, "--store", session_store.directory, "--sign", key)
    assert (pushed.code, pushed.out) == (0, f"1 of 1 kernels are in {remote.as_uri()}\n")
    assert Machine(kregistry, lock, tmp_path / "b", "a").pull(remote).code == 0
    refused = Machine(kregistry, lock, tmp_path / "c", "b").pull(remote)
    assert refused.code == 6 and ": unknown-key: no key of the policy has signed it (signed by " in refused.err
    (path,) = (path for path in remote.rglob("*") if path.is_file())
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert ": digest-mismatch: " in Machine(kregistry, lock, tmp_path / "d", "a").pull(remote).err


def test_a_remote_without_trust_settings_is_not_taken_from(
    kregistry: Run, lock: Path, session_store: Store, tmp_path: Path
) -> None:
    remote = tmp_path / "remote"
    kregistry("push", f"{remote}?unsigned", "--lock", lock, "--store", session_store.directory)
    pulled = kregistry("pull", remote, "--lock", lock, "--store", tmp_path / "b")
    assert pulled.code == 6 and "no-policy" in pulled.err and "append ?unsigned" in pulled.err
    assert not (tmp_path / "b").exists()
    assert kregistry("lookup", remote, "--lock", lock).code == 0
    assert ": unsigned: it carries no signature" in Machine(kregistry, lock, tmp_path / "c", "a").pull(remote).err


def test_a_build_signs_and_another_one_takes_it(
    kregistry: Run, lock: Path, session_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings come from variables, as in a pod."""
    shutil.copytree(session_store.directory, tmp_path / "a")
    remote = tmp_path / "remote"
    monkeypatch.setenv("KREGISTRY_SIGN", str(key_file(tmp_path, "a")))
    assert kregistry("push", remote, "--lock", lock, "--store", tmp_path / "a").code == 0
    monkeypatch.delenv("KREGISTRY_SIGN")
    monkeypatch.setenv("KREGISTRY_TRUST", str(policy_file(tmp_path, "a")))
    monkeypatch.setenv("KREGISTRY_REMOTE", str(remote))
    built = kregistry("build", "--lock", lock, "--store", tmp_path / "b", "--json")
    report = json.loads(built.out)
    assert (built.code, report["compiled"], report["remote"][0]["hits"]) == (0, [], 1)
    monkeypatch.setenv("KREGISTRY_TRUST", str(policy_file(tmp_path, "b")))
    arguments = ("build", "--lock", lock, "--store", tmp_path / "c", "--require-remote")
    assert kregistry(*arguments).code == 6


def test_a_signed_bundle(kregistry: Run, lock: Path, signed: Signed, tmp_path: Path) -> None:
    bundle = signed("a", 0)
    made = bundle.read_bytes(), (tmp_path / "a0.tar.gz.dsse.json").read_bytes()
    signed("a", 0)
    assert made == (bundle.read_bytes(), (tmp_path / "a0.tar.gz.dsse.json").read_bytes())
    machine = Machine(kregistry, lock, tmp_path / "b", "a")
    assert machine.pull(bundle).code == 0
    assert Machine(kregistry, lock, tmp_path / "c", "b").pull(bundle).code == 6
    unpacked = tmp_path / "unpacked"
    shutil.unpack_archive(bundle, unpacked, filter="data")
    assert Machine(kregistry, lock, tmp_path / "d", "a").pull(unpacked).code == 0
    (tmp_path / "a0.tar.gz.dsse.json").unlink()
    assert ": unsigned: " in machine.pull(bundle).err


def test_every_changed_part_of_a_signed_bundle(kregistry: Run, lock: Path, signed: Signed, tmp_path: Path) -> None:
    bundle = signed("a", 0)
    machine = Machine(kregistry, lock, tmp_path / "b", "a")
    for path, step in ((bundle, 997), (tmp_path / "a0.tar.gz.dsse.json", 211)):
        content = path.read_bytes()
        for place in range(0, len(content), step):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
            refused = machine.pull(bundle)
            assert refused.code == 6 and any(f": {each.label}: " in refused.err for each in TrustOutcome)
        path.write_bytes(content)
    other = signed("a", 1)
    other.write_bytes(bundle.read_bytes())
    assert ": digest-mismatch: " in machine.pull(other).err
    assert machine.pull(bundle).code == 0


def test_verify_reads_a_remote_and_keeps_nothing(
    kregistry: Run, lock: Path, signed: Signed, session_store: Store, tmp_path: Path
) -> None:
    bundle, store = signed("a", 0), tmp_path / "none"
    arguments = ("--lock", lock, "--store", store)
    good = kregistry("verify", "--remote", bundle, *arguments, "--trust", policy_file(tmp_path, "a"))
    assert good.code == 0 and good.out.endswith("a0.tar.gz are intact, and signed as the policy asks\n")
    bad = kregistry("verify", "--remote", bundle, *arguments, "--trust", policy_file(tmp_path, "b"))
    assert bad.code == 6 and ": unknown-key: " in bad.err and not store.exists()
    (tmp_path / "empty").mkdir()
    missing = kregistry("verify", "--remote", f"{tmp_path}/empty?unsigned", *arguments)
    assert missing.code == 1 and missing.out.startswith("0 of 1 kernels of")
    assert kregistry("verify", *arguments).code == 2


def test_every_kernel_that_is_refused_is_named_and_none_is_written(
    kregistry: Run, lock: Path, session_store: Store, kernel: Kernel, cubin: bytes, tmp_path: Path
) -> None:
    """One of three is signed by a stranger, one is changed, and one is right."""
    content = json.loads(lock.read_text())
    full = Store(tmp_path / "full")
    full.open()
    for name in ("x", "y", "z"):
        other = small_kernel(name)
        full.put(other, cubin, "nvcc", 1.0)
        content["kernels"][other.id] = {"name": name, "key": other.key, "arch": "sm_90a"}
    content["kernels"].pop(kernel.id)
    content["entries"] = []
    content.pop("sources")
    lock.write_text(json.dumps(content))
    remote = tmp_path / "remote"
    objects = []
    for key in ("x", "a"):
        arguments = ("--lock", lock, "--store", full.directory, "--sign", key_file(tmp_path, key))
        assert kregistry("push", remote, *arguments).code == 0
        objects.append((remote / object_name(small_kernel("x").key)).read_bytes())
    (remote / object_name(small_kernel("x").key)).write_bytes(objects[0])
    changed = remote / object_name(small_kernel("y").key)
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    machine = Machine(kregistry, lock, tmp_path / "b", "a")
    result = machine.pull(remote)
    assert result.code == 6 and "2 kernels refused" in result.err and not machine.store.exists()
    shown = kregistry("verify", "--remote", remote, "--lock", lock, "--trust", machine.policy, "--json")
    assert sorted(each["outcome"] for each in shown.json["refused"]) == ["digest-mismatch", "unknown-key"]
    for name, reason in (("x", "unknown-key"), ("y", "digest-mismatch")):
        assert f"\n  kernel {small_kernel(name).key[:16]}: {reason}: " in result.err


def test_nothing_of_a_bundle_is_unpacked_before_its_signature_was_checked(
    kregistry: Run, lock: Path, signed: Signed, tmp_path: Path
) -> None:
    bundle = signed("a", 0)
    bundle.write_bytes(gzip.compress(bytes(1 << 20)))  # would be an error of the archive
    assert ": digest-mismatch: " in Machine(kregistry, lock, tmp_path / "b", "a").pull(bundle).err


def test_an_older_bundle_is_refused_after_a_newer_one(
    kregistry: Run, lock: Path, signed: Signed, tmp_path: Path
) -> None:
    """Under any name, by any key, and although every kernel is in place already."""
    old, new, of_another_key = signed("a", 0), signed("a", 100), signed("b", 50)
    machine = Machine(kregistry, lock, tmp_path / "b", "a", "b")
    assert [machine.pull(each).code for each in (old, new)] == [0, 0]
    for bundle in (old, of_another_key):
        refused = machine.pull(bundle)
        assert refused.code == 6 and ": rolled-back: an older statement than one that was accepted" in refused.err
    assert machine.pull(new).code == 0
    assert Machine(kregistry, lock, tmp_path / "c", "a").pull(old).code == 0  # a new machine knows no better


@pytest.mark.parametrize("old", ["id: ", "key: ed25519:", "revoked", "version", "keys"])
def test_a_changed_bit_of_a_policy(kregistry: Run, lock: Path, signed: Signed, tmp_path: Path, old: str) -> None:
    """It is a problem with a place, or another key, which is not the one that has signed."""
    machine = Machine(kregistry, lock, tmp_path / "b", "a", a="revoked: false")
    text = machine.policy.read_bytes()
    place = text.index(old.encode()) + len(old)
    bundle = signed("a", 0)
    for bit in range(7):
        machine.policy.write_bytes(text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :])
        result = kregistry("pull", bundle, "--lock", lock, "--store", machine.store, "--trust", machine.policy)
        assert result.code == 2 and f"{machine.policy}" in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "found"),
    [
        (("pull", "/srv/k", "--trust", "none.yaml"), 2, "none.yaml: No such file or directory"),
        (("push", "/srv/k", "--sign", "none.key"), 2, "none.key: No such file or directory"),
        (("push", "/srv/k?ro", "--sign", "a.key"), 2, "is read-only\nhint: take ?ro away"),
        (("bundle", "--tar", "k.tar.gz", "--sign", "trust.yaml"), 2, "not a private key in PEM form"),
        (("build", "--sign", "trust.yaml", "--remote", "/srv/k"), 2, "not a private key in PEM form"),
    ],
)
def test_wrong_keys_and_policies(
    kregistry: Run,
    lock: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    found: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    key_file(tmp_path, "a")
    policy_file(tmp_path, "a")
    result = kregistry(*arguments, "--lock", "kernels.lock", "--store", "store")
    assert (result.code, found in result.err) == (code, True)
    assert signing_key("a").public.id not in result.err and "PRIVATE KEY" not in result.err


def hostile(name: str = "x", kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> bytes:
    """An archive with one member."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made.tobuf(tarfile.GNU_FORMAT) + bytes(10240)


KERNEL = f"v1/kernels/ab/{'ab' * 32}"


@pytest.mark.parametrize("trusted", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize(
    ("archive", "found"),
    [
        (hostile("../../../../victim"), "it holds '../../../../victim', which is not a kernel"),
        (hostile("/victim"), "it holds '/victim', which is not a kernel"),
        (hostile(f"{KERNEL}/../../victim"), "which is not a kernel"),
        (hostile(KERNEL, tarfile.SYMTYPE, "/etc/passwd"), "which is not a kernel"),
        (hostile(KERNEL, tarfile.LNKTYPE, "/etc/passwd"), "which is not a kernel"),
        (hostile(KERNEL, tarfile.CHRTYPE), "which is not a kernel"),
        (hostile(KERNEL, tarfile.FIFOTYPE), "which is not a kernel"),
        (hostile(KERNEL, size=1 << 33), "larger than a bundle of kernels can be"),
        (bytes(1 << 25), "larger than a bundle of kernels can be"),
        (hostile(KERNEL)[:512] * 2 + bytes(10240), "twice"),
        (b"", "it is damaged"),
    ],
    ids=lambda each: each[:40] if isinstance(each, str) else "archive",
)
def test_a_hostile_archive_is_refused_whoever_has_signed_it(
    kregistry: Run, lock: Path, tmp_path: Path, archive: bytes, found: str, trusted: bool
) -> None:
    bundle, store = tmp_path / "k.tar.gz", tmp_path / "none"
    bundle.write_bytes(gzip.compress(archive, mtime=0) if archive else b"")
    subjects = {BUNDLE_SUBJECT: sha256_of(bundle.read_bytes())}
    envelope = Signer((signing_key("a"),)).envelope("x", subjects, Provenance())
    signature_of(bundle).write_bytes(envelope)
    policy = policy_file(tmp_path, "a")
    before = tree(tmp_path)
    url, trust = (bundle, ("--trust", policy)) if trusted else (f"{bundle}?unsigned", ())
    result = kregistry("pull", url, "--lock", lock, "--store", store, *trust)
    assert (result.code, found in result.err, f"remote {bundle.as_uri()}: " in result.err) == (4, True, True)
    assert tree(tmp_path) == before
