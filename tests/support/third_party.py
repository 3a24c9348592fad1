"""A virtual environment that sees what this one has, and into which a plugin is built and installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


class ThirdParty:
    """An environment of someone else, with kregistry in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        venv.create(directory, with_pip=False, symlinks=True)
        self.python = directory / "bin" / "python"
        packages = next((directory / "lib").glob("python*")) / "site-packages"
        # addsitedir() follows the .pth files there too, by which an editable kregistry is found.
        (packages / "parent.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def install(self, project: Path) -> None:
        """Build a wheel of a copy of the project, without the network, and install it."""
        copy = self.directory / "source" / project.name
        shutil.copytree(project, copy, ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__"))
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check"]
        options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
        self._check(subprocess.run([*pip, "install", *options, str(copy)], capture_output=True, text=True))

    def add_commands(self) -> None:
        """``pip``, ``pytest`` and ``kregistry`` of this environment, as a newcomer types them."""
        pip = f"{sys.executable} -m pip --python {self.python} --disable-pip-version-check"
        commands = {
            "pip": f'{pip} "$@" --quiet --no-index --no-deps --no-build-isolation',
            "pytest": f'{self.python} -m pytest "$@"',
            "kregistry": f'{self.python} -c "from kregistry.cli import main; main()" "$@"',
        }
        for name, command in commands.items():
            path = self.python.parent / name
            path.write_text(f"#!/bin/sh\nexec {command}\n")
            path.chmod(0o755)

    def shell(self, script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """A shell script with the commands of this environment; it stops at the first that fails."""
        environment = {**os.environ, "PATH": f"{self.python.parent}:{os.environ['PATH']}"}
        command = ["bash", "-euc", script]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)

    def run(self, *arguments: str, cwd: Path) -> str:
        """Output of the environment's Python, which must succeed."""
        environment = {**os.environ, "PATH": f"{self.python.parent}:{os.environ['PATH']}"}
        command = [str(self.python), *arguments]
        return self._check(subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True))

    @staticmethod
    def _check(done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, f"{' '.join(done.args)}\n{done.stdout}\n{done.stderr}"
        return done.stdout
