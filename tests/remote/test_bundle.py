"""Bundles: the same to the byte, and nothing else than kernels comes out of one."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from kregistry.remote.bundle import BundleTier, compressed, tar_of
from kregistry.remote.tier import TierError

NAME = "v1/kernels/ab/" + "ab" * 32
OTHER = "v1/kernels/cd/" + "cd" * 32


def test_the_order_of_the_objects_does_not_matter() -> None:
    objects = {NAME: b"one", OTHER: b"two"}
    made = compressed(tar_of(objects.items()))
    assert made == compressed(tar_of(reversed(objects.items())))
    assert made != compressed(tar_of({NAME: b"one", OTHER: b"2"}.items()))


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = tmp_path / "k.tar.gz"
    path.write_bytes(compressed(tar_of([(NAME, b"one"), ("kernels.lock", b"{}")])))
    tier = BundleTier(path)
    assert (tier.get(NAME), tier.get(OTHER), tier.has(NAME), tier.has("kernels.lock")) == (b"one", None, True, False)
    with pytest.raises(TierError, match="never changed"):
        tier.put(NAME, b"")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


@pytest.mark.parametrize(
    "bad",
    [
        member("../../etc/cron.d/x"),
        member("/etc/passwd"),
        member("v1/kernels/ab/../../../x"),
        member("sitecustomize.py"),
        member(NAME, tarfile.SYMTYPE, "/etc/passwd"),
        member(NAME, tarfile.LNKTYPE, "/etc/passwd"),
        member(NAME, tarfile.DIRTYPE),
        member(NAME, tarfile.FIFOTYPE),
        member("kernels.lock", tarfile.SYMTYPE, "/etc/passwd"),
    ],
    ids=lambda each: f"{each.name} {each.type!r}",
)
def test_a_bundle_with_anything_else_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        tar.addfile(bad)
    path = tmp_path / "k.tar.gz"
    path.write_bytes(made.getvalue())
    with pytest.raises(TierError, match="which is not a kernel"):
        BundleTier(path)
    assert [each.name for each in tmp_path.iterdir()] == ["k.tar.gz"]


def test_a_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = member(NAME, size=1 << 32).tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "k.tar.gz"
    path.write_bytes(gzip.compress(header + bytes(1 << 20)))
    with pytest.raises(TierError, match="larger than a bundle of kernels can be"):
        BundleTier(path)


@pytest.mark.parametrize(
    "tar",
    [
        bytes(1 << 25),
        member(NAME, size=1 << 25).tobuf() + bytes(1 << 25),
        member("x", tarfile.XHDTYPE, size=1 << 40).tobuf(tarfile.GNU_FORMAT) + bytes(1 << 25),
        member("x", tarfile.GNUTYPE_LONGNAME, size=1 << 25).tobuf() + b"/" * (1 << 25),
    ],
    ids=["zeros", "one kernel", "pax header", "long name"],
)
def test_a_small_file_with_a_large_content_is_refused(tmp_path: Path, tar: bytes) -> None:
    path = tmp_path / "k.tar.gz"
    path.write_bytes(gzip.compress(tar, 1))
    with pytest.raises(TierError, match="larger than a bundle of kernels can be"):
        BundleTier(path)


@pytest.mark.parametrize(
    ("tar", "found"),
    [
        (tar_of([(NAME, b"one")])[:1024] + tar_of([(NAME, b"two")]), "twice"),
        (tar_of([(NAME.replace("v1", "v2"), b"one")]), "it is of the format v2, and this kregistry reads v1"),
        (tar_of([(NAME, b"one")])[:1024] + b"x" * 512 + bytes(1024), "something follows the last kernel"),
        (tar_of([(NAME, b"one")]) + tar_of([(OTHER, b"two")]), "something follows the last kernel"),
        (
            member(NAME, tarfile.GNUTYPE_SPARSE, size=9).tobuf(tarfile.GNU_FORMAT) + bytes(10240),
            "which is not a kernel",
        ),
        (member(NAME, tarfile.CONTTYPE).tobuf() + bytes(10240), "which is not a kernel"),
        (member(NAME, tarfile.CHRTYPE).tobuf() + bytes(10240), "which is not a kernel"),
        (member(NAME, tarfile.BLKTYPE).tobuf() + bytes(10240), "which is not a kernel"),
    ],
)
def test_what_only_looks_like_kernels_is_refused(tmp_path: Path, tar: bytes, found: str) -> None:
    path = tmp_path / "k.tar.gz"
    path.write_bytes(gzip.compress(tar))
    with pytest.raises(TierError, match=found):
        BundleTier(path)


def test_something_behind_the_bundle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k.tar.gz"
    path.write_bytes(compressed(tar_of([(NAME, b"one")])) + gzip.compress(b"more"))
    with pytest.raises(TierError, match="something follows it"):
        BundleTier(path)


@pytest.mark.parametrize("cut", [0, 1, 10, 100])
def test_a_damaged_bundle_is_refused(tmp_path: Path, cut: int) -> None:
    whole = compressed(tar_of([(NAME, bytes(range(256)) * 40)]))
    path = tmp_path / "k.tar.gz"
    path.write_bytes(whole[:cut])
    with pytest.raises(TierError):
        BundleTier(path)
    path.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])
    with pytest.raises(TierError, match="damaged"):
        BundleTier(path)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_an_extended_header_is_not_followed(tmp_path: Path, kind: bytes) -> None:
    """A reader of all kinds of tar files would take as much memory as it names."""
    header = member("x", kind, size=1 << 30).tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "k.tar.gz"
    path.write_bytes(gzip.compress(header + bytes(1 << 20)))
    with pytest.raises(TierError, match=r"which is not a kernel|larger than"):
        BundleTier(path)


def test_a_named_pipe_is_no_bundle(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "k.tar.gz")
    with pytest.raises(TierError):
        BundleTier(tmp_path / "k.tar.gz")
