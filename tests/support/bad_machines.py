"""Machines and settings with which kregistry cannot do its work: an engine serves on them all the same.

Each is made in a forked process, for it and its children: by environment variables, files, and mounts of its own.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_MOUNTS_OF_ITS_OWN = 0x20000  # CLONE_NEWNS
_MANIFEST = """version: 1
target: {target}
models:
  m:
    kernels:
      - {{type: {kernel_type}, shape: {shape}, m: {{stop: 16}}}}
"""


def store_at(path: Path) -> Path:
    os.environ["KREGISTRY_STORE"] = str(path)
    return path


def mounted_store(home: Path, *options: str) -> Path:
    """A store on a tmpfs that only this process and its children see."""
    store = store_at(home / "store")
    store.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_MOUNTS_OF_ITS_OWN) != 0:
        raise OSError(ctypes.get_errno(), "no mounts are allowed")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(("mode=755", *options)), "tmpfs", store], check=True)
    return store


def manifest(home: Path, text: str) -> None:
    path = home / "named.yaml"
    path.write_text(text)
    os.environ["KREGISTRY_MANIFEST"] = str(path)


def full_store(home: Path) -> None:
    (mounted_store(home, "size=64k") / "something-else").write_bytes(bytes(48 << 10))


def no_manifest(home: Path) -> None:
    os.environ["KREGISTRY_MANIFEST"] = str(home / "is-not-there.yaml")


def manifest_of_another_gpu(home: Path) -> None:
    shape = "{n: 512, k: 1024, scales: ue8m0}"
    manifest(home, _MANIFEST.format(target="b200", kernel_type="fp8_gemm_nt", shape=shape))


def broken_plugin(home: Path) -> None:
    """The manifest names a kernel type whose plugin raises when it is imported."""
    information = home / "plugins" / "broken-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[kregistry]\nbroken = broken_plugin\n")
    (home / "plugins" / "broken_plugin.py").write_text("raise RuntimeError('of the plugin')\n")
    sys.path.append(str(home / "plugins"))
    os.environ["PYTHONPATH"] += f":{home / 'plugins'}"
    manifest(home, _MANIFEST.format(target="h200", kernel_type="broken_gemm", shape="{n: 512}"))


def broken_compiler(home: Path) -> None:
    """It says its version, and compiles nothing: no host compiler is there, for example."""
    store_at(home / "store")
    for name in ("DG_JIT_CACHE_DIR", "SGLANG_DG_CACHE_DIR"):
        os.environ[name] = str(home / "cache")
    nvcc = home / "nvcc"
    real = os.environ["KREGISTRY_NVCC"]
    nvcc.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {real} --version\necho "sh: g++: not found"\nexit 1\n')
    nvcc.chmod(0o755)
    manifest(home, _MANIFEST.format(target="h200", kernel_type="fp8_gemm_nt", shape="{n: 512, k: 1024}"))
    os.environ["KREGISTRY_NVCC"] = str(nvcc)


def no_home(home: Path) -> None:
    """An account without a home directory, as in many containers."""
    import pwd

    for name in ("HOME", "XDG_CACHE_HOME", "KREGISTRY_STORE"):
        os.environ.pop(name, None)

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    pwd.getpwuid = unknown
    os.chdir(home)


def store_of_the_future(home: Path) -> None:
    """The clock has been set back since the last start, and that start left folders and the claim of a dead process."""
    store = store_at(home / "store")
    later = time.time() + 10 * 365 * 86400
    for number in range(12):
        (store / "starts" / f"20991231-{number:06}-start.1.ab").mkdir(parents=True)
    for path in (*store.rglob("*"), store):
        os.utime(path, (later, later))


MACHINES: dict[str, Callable[[Path], object]] = {
    "store on a read-only disk": lambda home: mounted_store(home, "ro"),
    "store on a full disk": full_store,
    "store below a file": lambda home: store_at(Path("/dev/null/store")),
    "manifest that is not there": no_manifest,
    "broken manifest": lambda home: manifest(home, "version: 1\nmodels: ["),
    "manifest of another GPU": manifest_of_another_gpu,
    "broken plugin": broken_plugin,
    "broken compiler": broken_compiler,
    "no home directory": no_home,
    "clock set back": store_of_the_future,
}


def usable_machines() -> list[str]:
    """Those that this user can make: some need the right to mount."""
    can_mount = subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
    return [name for name in MACHINES if can_mount or not name.endswith("disk")]
