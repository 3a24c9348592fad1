"""kregistry push, pull, lookup, and build --remote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result
from trees import tree

from kregistry.compile import BuildReport
from kregistry.store import Store

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]
Run = Callable[..., Result]


def test_from_one_machine_to_another(kregistry: Run, lock: Path, session_store: Store, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    pushed = kregistry("push", f"{remote}?unsigned", "--lock", lock, "--store", session_store.directory)
    assert (pushed.code, pushed.out) == (0, f"1 of 1 kernels are in {remote.as_uri()}\n")
    asked = kregistry("lookup", remote, "--lock", lock)
    assert (asked.code, asked.out) == (0, f"1 of 1 kernels are in {remote.as_uri()}\n")
    assert f"{remote.as_uri()}: 1 hits, 0 misses" in asked.err
    pulled = kregistry("pull", f"{remote}?unsigned", "--lock", lock, "--store", tmp_path / "b")
    assert (pulled.code, pulled.out) == (0, f"1 of 1 kernels are in {tmp_path / 'b'}\n")
    assert f"{remote.as_uri()}: 1 hits, 0 misses" in pulled.err
    again = kregistry("pull", f"{remote}?unsigned", "--lock", lock, "--store", tmp_path / "b")
    assert again.code == 0 and f"{remote.as_uri()}: not asked\n" in again.err
    built = kregistry("build", "--lock", lock, "--store", tmp_path / "c", "--remote", f"{remote}?unsigned", "--json")
    report = json.loads(built.out)
    assert (built.code, report["compiled"], report["ready"], report["remote"][0]["hits"]) == (0, [], 1, 1)


def test_what_is_missing_is_named(kregistry: Run, lock: Path, tmp_path: Path, tiny_build: BuildReport) -> None:
    (kernel,) = tiny_build.plan.kernels
    (tmp_path / "remote").mkdir()
    for command in ("lookup", "pull"):
        result = kregistry(command, f"{tmp_path}/remote?unsigned", "--lock", lock, "--store", tmp_path / "b")
        assert (result.code, result.out.startswith("0 of 1 kernels are in ")) == (1, True)
        assert f"\n  {kernel}\n" in result.err
        url = f"'{(tmp_path / 'remote').as_uri()}?unsigned'"
        filling = f"push {url} --lock {lock} --store" if command == "lookup" else f"build --lock {lock} --store"
        assert f"\nhint: kregistry {filling} {tmp_path / 'b'} " in result.err
    pushed = kregistry("push", f"{tmp_path}/remote?unsigned", "--lock", lock, "--store", tmp_path / "b")
    build = f"kregistry build --lock {lock} --store {tmp_path / 'b'}"
    assert (pushed.code, f"hint: {build} compiles the others first" in pushed.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "found"),
    [
        (("push", "/srv/k"), 2, "remote file:///srv/k is read-only\nhint: kernels are not signed: append ?unsigned"),
        (("pull", "ftp://u:secret@x"), 2, "remote ftp://x: 'ftp' is not known"),
        (("pull", "/no/such/directory"), 4, "remote file:///no/such/directory: no such directory\nhint: check the URL"),
        (("lookup", "http://127.0.0.1:9/k"), 4, "error sending request\nhint: check the URL, the network, and"),
        (("build", "--remote", "s3:/b/k"), 2, "no such directory, and not a URL\nhint: did you mean s3://b/k?"),
        (("push", __file__), 2, "a file, where a URL or a directory is expected\nhint: the URL of the remote comes"),
        (("push", "/srv/k.tar.gz?unsigned"), 2, "hint: kregistry bundle --lock "),
        (("build", "--remote", "s3://b?x"), 2, "remote s3://b: unknown option 'x'"),
        (("build", "--store", "s3://b/k"), 2, "the store is a directory on this machine\nhint: --remote names a URL"),
    ],
)
def test_wrong_remotes(kregistry: Run, lock: Path, arguments: tuple[str, ...], code: int, found: str) -> None:
    result = kregistry(*arguments, "--lock", lock)
    assert (result.code, found in result.err, "secret" in result.err) == (code, True, False)


def test_an_environment_variable_names_remotes(
    kregistry: Run, lock: Path, session_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = tmp_path / "remote"
    kregistry("push", f"{remote}?unsigned", "--lock", lock, "--store", session_store.directory)
    monkeypatch.setenv("KREGISTRY_REMOTE", f"{remote}?unsigned")
    result = kregistry("build", "--lock", lock, "--store", tmp_path / "c")
    assert (result.code, "(0 compiled, 1 found, " in result.out) == (0, True)


def test_a_required_remote_that_fails(kregistry: Run, lock: Path, tmp_path: Path) -> None:
    arguments = ("--lock", lock, "--store", tmp_path / "c", "--remote", "http://127.0.0.1:9/k?unsigned")
    result = kregistry("build", *arguments, "--require-remote")
    assert (result.code, "remote http://127.0.0.1:9/k: " in result.err) == (4, True)


def test_a_bundle_is_pulled_as_it_is(kregistry: Run, lock: Path, session_store: Store, tmp_path: Path) -> None:
    arguments = ("--lock", lock, "--store", session_store.directory)
    made = [kregistry("bundle", *arguments, "--tar", tmp_path / f"{name}.tar.gz") for name in "ab"]
    assert [each.code for each in made] == [0, 0] and made[0].out.startswith(f"{tmp_path / 'a.tar.gz'}: 1 kernels, ")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    pulled = kregistry("pull", f"{tmp_path}/a.tar.gz?unsigned", "--lock", lock, "--store", tmp_path / "b")
    assert (pulled.code, pulled.out) == (0, f"1 of 1 kernels are in {tmp_path / 'b'}\n")
    image = kregistry("bundle", *arguments, "--oci", tmp_path / "image")
    assert image.code == 0 and "1 kernels, sha256:" in image.out


@pytest.mark.parametrize(
    ("arguments", "code", "found"),
    [
        ((), 2, "bundle: expected --tar FILE, --oci DIR or --wheel FILE"),
        (("--tar", "k.zip"), 2, "the name must end in .tar.gz or .tgz"),
        (("--wheel", "kernels.whl"), 2, "expected NAME-VERSION-py3-none-any.whl\nhint: the name of a wheel says"),
        (("--wheel", "a-b.c-py3-none-any.whl"), 2, "Invalid version: 'b.c'"),
        (("--wheel", "../../a-1.00-py3-none-any.whl"), 2, "pip writes the version as 1.0"),
        (("--oci", "."), 2, "it is there already"),
        (("--tar", "/no/such/place/k.tar.gz"), 4, "/no/such/place/k.tar.gz: "),
        (("--tar", "k.tar.gz", "--store", "nowhere"), 1, "1 of 1 kernels are not in nowhere"),
    ],
)
def test_bundles_that_are_not_written(
    kregistry: Run,
    lock: Path,
    session_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    found: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    store = () if "--store" in arguments else ("--store", session_store.directory)
    result = kregistry("bundle", "--lock", lock, *store, *arguments)
    assert (result.code, found in result.err) == (code, True)
    assert not (tmp_path / "k.tar.gz").exists()


@pytest.mark.parametrize("command", ["pull", "push", "lookup", "bundle", "build"])
@pytest.mark.parametrize("key", ["../../../../victim", "/victim", "ab/../../victim", "", "AB" * 32, "ab" * 32 + "\n"])
def test_a_lock_file_whose_keys_are_paths_is_refused(
    kregistry: Run, lock: Path, tmp_path: Path, command: str, key: str
) -> None:
    """A key becomes a path in the store and in the remote."""
    content = json.loads(lock.read_text())
    (section,) = content["kernels"].values()
    section["key"] = key
    lock.write_text(json.dumps(content))
    (tmp_path / "remote").mkdir()
    before = tree(tmp_path)
    first = (f"{tmp_path / 'remote'}?unsigned",) if command in ("pull", "push", "lookup") else ()
    more = ("--tar", tmp_path / "k.tar.gz") if command == "bundle" else ()
    result = kregistry(command, *first, "--lock", lock, "--store", tmp_path / "b", *more)
    assert (result.code, "a key of a kernel is not a sha256" in result.err) == (2, True)
    assert tree(tmp_path) == before
