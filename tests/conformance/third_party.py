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

    def run(self, *arguments: str, cwd: Path) -> str:
        """Output of the environment's Python, which must succeed."""
        environment = {**os.environ, "PATH": f"{self.python.parent}:{os.environ['PATH']}"}
        command = [str(self.python), *arguments]
        return self._check(subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True))

    @staticmethod
    def _check(done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, f"{' '.join(done.args)}\n{done.stdout}\n{done.stderr}"
        return done.stdout
