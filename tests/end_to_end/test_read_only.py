"""A complete store that a process cannot write is used as it is, on a read-only mount and as another user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen
from command_line import Result
from compilers import copying_toolkit

from kregistry.stub.environment import stub_environment
from kregistry.stub.library import compile_stub
from kregistry.target import get_target
from kregistry.toolchain import Toolchain

#: A user that owns nothing here.
_NOBODY = 65534
BOTH_WAYS = ["as_another_user", pytest.param("on_a_read_only_mount", marks=pytest.mark.slow)]
_ROOT = Path(__file__).resolve().parents[2]


@frozen
class ReadOnly:
    """A store and a JIT cache that were built, and processes that cannot write them.

    Attributes:
        directory: holds both, and the manifest.
        environment: of every process.
    """

    directory: Path
    environment: dict[str, str]

    @property
    def places(self) -> list[str]:
        return ["--store", str(self.directory / "store"), "--cache-dir", str(self.directory / "cache")]

    def build(self, *options: str) -> Result:
        """As the user who owns it."""
        return self._run([], "build", self.directory / "kernels.yaml", *self.places, "--json", *options)

    def as_another_user(self, *arguments: str | Path) -> Result:
        """As a user who may read everything, and write nothing. A root process becomes that user."""
        if os.getuid() == 0:
            return self._run(as_nobody(self.directory), *arguments)
        writable = [path for path in self.directory.rglob("*") if path.is_dir()] + [self.directory]
        for path in writable:
            path.chmod(0o555)
        try:
            return self._run([], *arguments)
        finally:
            for path in writable:
                path.chmod(0o755)

    def on_a_read_only_mount(self, *arguments: str | Path) -> Result:
        """In a mount namespace of its own, where the directory is mounted read-only."""
        script = (
            f'mount --bind {self.directory} {self.directory} && mount -o remount,ro,bind {self.directory} && exec "$@"'
        )
        unshare = ["unshare", "-m", *([] if os.getuid() == 0 else ["-r"]), "sh", "-c", script, "sh"]
        if subprocess.run([*unshare, "true"], capture_output=True).returncode:
            pytest.skip("this process may not mount anything, not even in a namespace of its own")
        return self._run(unshare, *arguments)

    def _run(self, before: list[str], *arguments: str | Path) -> Result:
        command = [*before, sys.executable, "-m", "kregistry", *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd="/")
        return Result(done.returncode, done.stdout, done.stderr)


def as_nobody(directory: Path) -> list[str]:
    """The start of a command that root runs as another user.

    A Python below a directory that this user may not enter, like root's home, is made visible in a mount namespace;
    ``directory`` has an empty directory for that.
    """
    drop = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    prefix = Path(sys.base_prefix).resolve()
    hidden = next((each for each in reversed(prefix.parents) if not each.stat().st_mode & 0o001), None)
    if hidden is None:
        return drop
    script = (
        'mount --bind "$2" "$3" && mount -t tmpfs -o mode=755 none "$1" && mkdir -p "$2" && mount --bind "$3" "$2" && '
        'shift 3 && exec "$@"'
    )
    return ["unshare", "-m", "sh", "-c", script, "sh", str(hidden), str(prefix), str(directory / "python"), *drop]


@pytest.fixture(scope="module")
def read_only(toolchain: Toolchain, cubin: bytes) -> Iterator[ReadOnly]:
    """Outside of pytest's directories, which only their owner may enter."""
    directory = Path(tempfile.mkdtemp(prefix="kregistry-read-only-"))
    directory.chmod(0o755)
    (directory / "python").mkdir()
    text = (
        "version: 1\ntarget: h100\nmodels:\n  tiny:\n    kernels:\n"
        "      - {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 256}, m: {stop: 4}}\n"
    )
    (directory / "kernels.yaml").write_text(text)
    (directory / "more.yaml").write_text(text.replace("k: 256", "k: [256, 512]"))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
        "CUDA_HOME": str(copying_toolkit(directory / "cuda", toolchain, cubin)),
        "HOME": str(directory / "home"),
        "XDG_CACHE_HOME": str(directory / "xdg"),
    }
    made = ReadOnly(directory, environment)
    try:
        built = made.build()
        assert built.code == 0, built.err
        yield made
    finally:
        shutil.rmtree(directory)


def content(directory: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(directory.rglob("*"))}


@pytest.mark.parametrize("how", BOTH_WAYS)
def test_case_6_a_complete_store_is_used_as_it_is(read_only: ReadOnly, how: str) -> None:
    before = content(read_only.directory)
    run = getattr(read_only, how)
    for command in ("build", "verify", "plan"):
        places = read_only.places if command != "plan" else read_only.places[:2]
        result = run(command, read_only.directory / "kernels.yaml", *places, "--json")
        assert result.code == 0, (command, result.err)
        if command == "build":
            assert (json.loads(result.out)["ready"], json.loads(result.out)["compiled"]) == (1, [])
    assert content(read_only.directory) == before


@pytest.mark.parametrize("how", BOTH_WAYS)
def test_an_incomplete_store_names_what_is_missing(read_only: ReadOnly, how: str) -> None:
    result = getattr(read_only, how)("build", read_only.directory / "more.yaml", *read_only.places)
    assert result.code == 4, result.err
    store = read_only.directory / "store"
    assert f"error: {store}: cannot be written, and 1 of 2 kernels are not ready: sm90_tf32_hc_prenorm" in result.err
    assert " is not in the store\n" in result.err
    assert "hint: run kregistry build where the store and the JIT cache can be written\n" in result.err


@pytest.mark.slow
def test_a_jit_cache_that_can_be_written_is_filled(read_only: ReadOnly, tmp_path: Path) -> None:
    arguments = ("build", read_only.directory / "kernels.yaml", *read_only.places[:2], "--cache-dir", tmp_path / "jit")
    result = read_only.on_a_read_only_mount(*arguments)
    assert result.code == 0, result.err
    assert list((tmp_path / "jit").rglob("kernel.cubin"))


def test_a_user_without_a_cache_directory_can_plan(read_only: ReadOnly) -> None:
    """In a container that runs as some user, whose home nobody has made."""
    nowhere = {**read_only.environment, "HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent/cache"}
    user = ReadOnly(read_only.directory, nowhere)
    result = user.as_another_user("plan", read_only.directory / "more.yaml", *read_only.places[:2], "--json")
    assert result.code == 0, result.err
    assert len(json.loads(result.out)["kernels"]) == 2


@pytest.mark.parametrize("how", BOTH_WAYS)
def test_a_jit_cache_without_the_kernel_is_named(read_only: ReadOnly, how: str) -> None:
    empty = read_only.directory / "empty"
    result = getattr(read_only, how)(
        "build", read_only.directory / "kernels.yaml", *read_only.places[:2], "--cache-dir", empty
    )
    assert result.code == 4, result.err
    assert "1 of 1 kernels are not ready: sm90_tf32_hc_prenorm_gemm." in result.err and str(empty) in result.err


def test_a_server_as_another_user_starts_warm(read_only: ReadOnly, toolchain: Toolchain, stub_directory: Path) -> None:
    """The plan is the one that the build has left, although a server detects its GPU, and the build had its name."""
    shutil.copytree(stub_directory, read_only.directory / "stub", dirs_exist_ok=True)
    (read_only.directory / "stub").chmod(0o755)  # pytest's directories are their owner's only
    library = read_only.directory / "stub" / compile_stub(toolchain, stub_directory).name
    script = read_only.directory / "warm_up_again.py"
    shutil.copy(Path(__file__).parents[1] / "support" / script.name, script)
    environment = stub_environment(get_target("h100"), toolchain, library, Path("/nonexistent"), read_only.environment)
    environment["DG_JIT_NVCC_COMPILER"] = str(read_only.directory / "cuda" / "bin" / "nvcc")
    environment["CUDA_HOME"] = read_only.environment["CUDA_HOME"]
    command = [sys.executable, "-W", "ignore", script, read_only.directory / "kernels.yaml", *read_only.places[1::2]]
    before = as_nobody(read_only.directory) if os.getuid() == 0 else []
    done = subprocess.run([*before, *command], env=environment, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["built"], report["loaded"], report["compiled"]) == (False, 1, [])
