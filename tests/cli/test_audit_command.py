"""kregistry audit: kernels are compiled again and compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from command_line import Result
from signing import key_file, policy_file
from small_kernels import small_kernel

from kregistry.compile.audit import audit
from kregistry.kernel import Kernel
from kregistry.store import Store
from kregistry.store.cubin import sections_of

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]
Run = Callable[..., Result]


@pytest.fixture
def wrong(kernel: Kernel, cubin: bytes, tmp_path: Path) -> Store:
    """A store whose kernel has one changed instruction, with all digests right: what a builder that lies would sign."""
    text = next(each for each in sections_of(cubin) if each.name.startswith(".text."))
    place = cubin.index(text.content) + len(text.content) // 2
    store = Store(tmp_path / "wrong")
    store.open()
    store.put(kernel, cubin[:place] + bytes([cubin[place] ^ 1]) + cubin[place + 1 :], "nvcc", 1.0)
    return store


def test_what_was_compiled_here_is_the_same(kregistry: Run, lock: Path, session_store: Store, kernel: Kernel) -> None:
    arguments = ("--lock", lock, "--store", session_store.directory, "--seed", 7)
    result = kregistry("audit", *arguments, "--json")
    assert (result.code, result.json["same"], result.json["seed"]) == (0, [kernel.id], 7)
    jsonschema.validate(result.json, kregistry("schema", "--output-of", "audit").json)


def test_what_differs_is_named(kregistry: Run, lock: Path, wrong: Store, kernel: Kernel, tmp_path: Path) -> None:
    """Although every digest and every signature is right."""
    bundle = tmp_path / "k.tar.gz"
    arguments = ("--lock", lock, "--store", wrong.directory)
    key, policy = key_file(tmp_path, "a"), policy_file(tmp_path, "a")
    assert kregistry("bundle", *arguments, "--tar", bundle, "--sign", key).code == 0
    result = kregistry("audit", bundle, *arguments, "--trust", policy)
    assert result.code == 1 and result.out.startswith("0 of 1 kernels are what their sources compile to (1 of 1 drawn")
    found = f"\n  {kernel.id}: differs from what its source compiles to: the content of .text."
    assert found in result.err and "do not use them before you know who made them" in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "found"),
    [
        (("--store", "empty"), 1, ": not there"),
        (("remote?unsigned", "--store", "empty"), 1, ": not there"),
        (("remote", "--store", "empty"), 6, "no-policy"),
        (("none", "--store", "empty"), 4, "no such directory"),
        (("--sample", "0"), 2, "0 is not in the range"),
        (("--lock", "empty.lock"), 2, "empty.lock"),
        (("kernels.lock", "other.yaml"), 2, "a file, where a remote is expected"),
        (("--store", "damaged"), 1, ": damaged: the cubin's sha256 differs"),
    ],
)
def test_what_cannot_be_compared(
    kregistry: Run,
    lock: Path,
    session_store: Store,
    kernel: Kernel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    found: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "remote").mkdir()
    damaged = Store(tmp_path / "damaged")
    shutil.copytree(session_store.directory, damaged.directory)
    path = damaged.entry(kernel.key) / "kernel.cubin"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    chosen = arguments if "--lock" in arguments else (*arguments, "--lock", lock)
    result = kregistry("audit", *chosen)
    assert (result.code, found in result.err) == (code, True)


def test_a_seed_draws_the_same_kernels(tmp_path: Path) -> None:
    kernels = [small_kernel(f"k{number}") for number in range(9)]

    def drawn(seed: int) -> list[str]:
        return [each.kernel for each in audit(kernels, lambda _: None, tmp_path / "nvcc", 3, seed, 2).missing]

    assert drawn(1) == drawn(1) != drawn(2) and len(drawn(1)) == 3
