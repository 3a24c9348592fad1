"""A copy of the clone, its distributions, and environments in which each is installed; made once for all tests."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from environments import Environment, copy_of_the_clone

BUILD = "import sys; from setuptools import build_meta as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"


def build(source: Path, hook: str, directory: Path) -> Path:
    """The distribution that a hook of the build backend makes of a source tree."""
    command = [sys.executable, "-W", "ignore", "-c", BUILD, hook, str(directory)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Named as `git clone` names it: like the package."""
    return copy_of_the_clone(tmp_path_factory.mktemp("parent") / "kregistry")


@pytest.fixture(scope="session")
def sdist_archive(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(clone, "build_sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def sdist(sdist_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked. What is built or installed from it leaves files of its own there."""
    directory = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist_archive) as archive:
        archive.extractall(directory, filter="data")
    (unpacked,) = [path for path in directory.iterdir() if path.is_dir()]
    return unpacked


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, as pip and an index would."""
    return build(sdist, "build_wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def editable_environment(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("editable") / "venv")
    environment.install("-e", clone)
    return environment


@pytest.fixture(scope="session")
def wheel_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("installed") / "venv")
    environment.install(wheel)
    return environment


@pytest.fixture(params=["editable", "wheel"])
def environment(request: pytest.FixtureRequest) -> Environment:
    """An environment with kregistry, in both ways of installing it."""
    found: Environment = request.getfixturevalue(f"{request.param}_environment")
    return found
