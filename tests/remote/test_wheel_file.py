"""A wheel brings kernels: the same to the byte, found by builds and by lookup, and as little trusted as any remote."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import Result
from compilers import refusing_toolkit

from kregistry.compile import BuildReport
from kregistry.errors import InputError
from kregistry.kernel import Kernel
from kregistry.plan.lock import write_lock
from kregistry.remote.chain import Chain
from kregistry.remote.installed import InstalledTier, installed_wheels
from kregistry.remote.location import Location
from kregistry.remote.tier import TierError
from kregistry.remote.wheel_file import wheel_of
from kregistry.store import Store
from kregistry.toolchain import Toolchain

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]
Run = Callable[..., Result]
NAME = "tiny_h100-1.0-py3-none-any.whl"


@pytest.fixture
def lock(tiny_build: BuildReport, toolchain: Toolchain, tmp_path: Path) -> Path:
    path = tmp_path / "kernels.lock"
    write_lock(tiny_build.plan, path, toolchain.cuda.compiler)
    return path


@pytest.fixture
def wheel(kregistry: Run, lock: Path, session_store: Store, tmp_path: Path) -> Path:
    made = kregistry("bundle", "--lock", lock, "--store", session_store.directory, "--wheel", tmp_path / NAME)
    assert (made.code, made.out.startswith(f"{tmp_path / NAME}: 1 kernels, ")) == (0, True)
    return tmp_path / NAME


@pytest.fixture
def installed(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The wheel, unpacked on the module search path, as pip does it."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    installed_wheels.cache_clear()
    yield site / "kregistry_kernels_tiny_h100"
    installed_wheels.cache_clear()


def test_it_is_the_same_to_the_byte(
    kregistry: Run, wheel: Path, lock: Path, session_store: Store, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    again = tmp_path / "b" / NAME
    kregistry("bundle", "--lock", lock, "--store", session_store.directory, "--wheel", again)
    assert wheel.read_bytes() == again.read_bytes()
    objects = {f"v1/kernels/{each}/{each}": each.encode() for each in ("cd", "ab")}
    assert wheel_of("a", "1", objects.items(), "x") == wheel_of("a", "1", reversed(objects.items()), "x")


def test_its_record_is_that_of_its_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        rows = list(csv.reader(io.StringIO(archive.read("tiny_h100-1.0.dist-info/RECORD").decode())))
        assert [row[0] for row in rows] == archive.namelist()
        for name, digest, size in rows[:-1]:
            content = archive.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={expected}", str(len(content)))
        summary = archive.read("tiny_h100-1.0.dist-info/METADATA").decode()
    assert "\nSummary: DeepGEMM kernels: tiny, h100, " in summary


def test_a_build_finds_it_by_itself_and_compiles_nothing(
    kregistry: Run,
    installed: Path,
    lock: Path,
    toolchain: Toolchain,
    kernel: Kernel,
    cubin: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(refusing_toolkit(tmp_path / "cuda", toolchain)))
    built = kregistry("build", "--lock", lock, "--store", tmp_path / "c", "--json")
    report = built.json
    assert (built.code, report["compiled"], report["ready"]) == (0, [], 1)
    assert (report["remote"][0]["name"], report["remote"][0]["hits"]) == ("wheel:tiny_h100", 1)
    stored = Store(tmp_path / "c").get(kernel.key)
    assert stored is not None and stored.cubin.read_bytes() == cubin
    assert "kregistry_kernels_tiny_h100" not in __import__("sys").modules


@pytest.mark.parametrize("url", ["wheel:", "wheel:tiny_h100"])
def test_lookup_and_pull_name_it(kregistry: Run, installed: Path, lock: Path, tmp_path: Path, url: str) -> None:
    asked = kregistry("lookup", url, "--lock", lock)
    assert (asked.code, asked.out) == (0, "1 of 1 kernels are in wheel:tiny_h100\n")
    pulled = kregistry("pull", url, "--lock", lock, "--store", tmp_path / "b")
    assert (pulled.code, pulled.out) == (0, f"1 of 1 kernels are in {tmp_path / 'b'}\n")


def test_an_engine_asks_it_before_a_remote(installed: Path) -> None:
    """Engines build with the tiers of the environment."""
    chain = Chain.from_environment(environment={"KREGISTRY_REMOTE": "memory:///x?unsigned"})
    assert [each.name.partition(":")[0] for each in chain.use] == ["wheel", "memory"]


def test_a_damaged_file_of_it_is_not_used(
    kregistry: Run, installed: Path, lock: Path, kernel: Kernel, tmp_path: Path
) -> None:
    path = installed / "v1" / "kernels" / kernel.key[:2] / kernel.key
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    chain = Chain.from_environment(environment={})
    store = Store(tmp_path / "d")
    store.open()
    assert not chain.fetch(kernel.key, store)
    assert chain.use[0].wrong == 1 and store.get(kernel.key) is None


def test_what_is_not_installed(kregistry: Run, lock: Path, tmp_path: Path) -> None:
    none = kregistry("lookup", "wheel:", "--lock", lock)
    assert (none.code, "no wheel with kernels is installed\nhint: kregistry bundle --wheel" in none.err) == (2, True)
    other = kregistry("lookup", "wheel:other", "--lock", lock)
    assert (other.code, "remote wheel:other: no such wheel is installed" in other.err) == (4, True)
    with pytest.raises(InputError, match="has no options"):
        Location.parse("wheel:tiny?unsigned")
    assert Chain.from_environment(environment={}).use == ()


def test_a_wheel_without_its_files(installed: Path) -> None:
    for path in sorted(installed.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    installed.rmdir()
    with pytest.raises(TierError, match="its files are missing"):
        InstalledTier("tiny_h100")
    assert Chain.from_environment(environment={}).use == ()
