"""New virtual environments, made without the network from links to the packages of this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Start of the names, in site-packages, of all that the extra `deepgemm` brings.
DEEP_GEMM_EXTRA = ("torch", "functorch", "triton", "nvidia", "cuda", "deep_gemm", "sgl_deep_gemm", "tvm_ffi")
#: Variables by which an environment would find more, or less, than what is installed in it.
_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "VIRTUAL_ENV", "CUDA_HOME", "CUDA_PATH")
_NOT_COPIED = (".git", ".venv", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "build", "dist")


class Environment:
    """A virtual environment with the packages of this one: links, so that none is downloaded.

    Args:
        directory: where it is made.
        without: packages that it does not have, by the start of their names; kregistry is never among those it has.
    """

    def __init__(self, directory: Path, without: Collection[str] = ()) -> None:
        venv.create(directory, with_pip=False, symlinks=True)
        self.bin = directory / "bin"
        self.python = self.bin / "python"
        (packages,) = (directory / "lib").glob("python*/site-packages")
        left_out = ("kregistry", "_virtualenv", "__pycache__", *without)
        for place in map(Path, sys.path):
            if place.name not in ("site-packages", "dist-packages"):
                continue
            for entry in place.iterdir():
                here = packages / entry.name
                wanted = not entry.name.startswith(left_out) and entry.suffix != ".pth"
                if wanted and not os.path.lexists(here):
                    here.symlink_to(entry)

    def install(self, *arguments: str | Path) -> None:
        """What ``pip install`` does with these arguments, without the network and without dependencies."""
        pip = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", "install"]
        options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
        self.run(*pip, *options, *arguments, cwd=self.bin)

    def run(self, *command: str | Path, cwd: Path) -> str:
        """Standard output of a command that must succeed; names like ``python`` are those of the environment."""
        done = self.try_to_run(*command, cwd=cwd)
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def try_to_run(self, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
        variables["PATH"] = f"{self.bin}{os.pathsep}{variables['PATH']}"
        program = shutil.which(str(command[0]), path=variables["PATH"]) or command[0]
        return subprocess.run([program, *command[1:]], cwd=cwd, env=variables, capture_output=True, text=True)


def copy_of_the_clone(directory: Path) -> Path:
    """The files of this clone, links as links, without what was built in it."""
    shutil.copytree(ROOT, directory, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    return directory
