"""What the source distribution and the wheel hold, and that the former can be worked with."""

from __future__ import annotations

import filecmp
import os
import tarfile
import zipfile
from collections import Counter
from email import message_from_bytes
from pathlib import Path

import pytest
from environments import DEEP_GEMM_EXTRA, Environment

PACKAGES = ("kregistry", "kregistry_plugins")
#: What needs none of torch, DeepGEMM, nvcc.
FAST = "not stub and not nvcc and not slow and not engines and not services and not ray and not gpu"


def files_below(directory: Path) -> set[str]:
    """Paths of all files; links to folders are followed, since `kregistry_plugins` and `kregistry/docs` are some."""
    return {
        str((Path(folder) / name).relative_to(directory))
        for folder, _, names in os.walk(directory, followlinks=True)
        for name in names
        if not any(part in folder for part in ("__pycache__", ".egg-info", ".hypothesis"))
    }


def not_installed(clone: Path) -> set[str]:
    """What `kregistry docs` does not print: the data of the catalogue, and pictures."""
    pictures = (clone / "kregistry" / "docs" / "images").glob("*.png")
    return {"kregistry/docs/catalogue.json", *(str(path.relative_to(clone)) for path in pictures)}


def test_the_source_distribution_holds_every_file_of_the_clone(clone: Path, sdist_archive: Path) -> None:
    with tarfile.open(sdist_archive) as archive:
        names = {member.name.partition("/")[2] for member in archive if not member.isdir()}
    held = {name for name in names if ".egg-info/" not in name}
    added, left_out = {"PKG-INFO", "setup.cfg"}, {".gitignore", *not_installed(clone)}
    assert held - added == files_below(clone) - left_out


def test_plugins_and_kregistry_plugins_are_the_same_in_it(sdist: Path) -> None:
    names = sorted(files_below(sdist / "plugins"))
    assert names == sorted(files_below(sdist / "kregistry_plugins"))
    assert filecmp.cmpfiles(sdist / "plugins", sdist / "kregistry_plugins", names, shallow=False) == (names, [], [])


def test_the_wheel_holds_each_package_once_with_its_data(clone: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = Counter(name for name in archive.namelist() if ".dist-info/" not in name)
    expected = {f"{package}/{name}" for package in PACKAGES for name in files_below(clone / package)}
    assert set(held) == expected - not_installed(clone)
    assert set(held.values()) == {1}


def test_the_wheel_names_its_licence_and_its_entry_points(clone: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (information,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = message_from_bytes(archive.read(f"{information}/METADATA"))
        entry_points = archive.read(f"{information}/entry_points.txt").decode()
        assert archive.read(f"{information}/licenses/LICENSE") == (clone / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "Apache-2.0"
    families = sorted(path.parent.name for path in (clone / "plugins").glob("*/__init__.py"))
    assert len(families) == 8
    assert all(f"{family} = kregistry_plugins.{family}\n" in entry_points for family in families)


def test_torch_comes_with_an_extra_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        required = message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])
    assert [each for each in required if each.startswith("torch") and "extra" not in each] == []
    assert [each for each in required if each.startswith("torch") and "extra == 'deepgemm'" in each.replace('"', "'")]


@pytest.fixture(scope="module")
def without_torch(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment in which the unpacked source distribution is installed, and the extra `deepgemm` is not."""
    environment = Environment(tmp_path_factory.mktemp("plain") / "venv", without=DEEP_GEMM_EXTRA)
    environment.install("-e", sdist)
    return environment


def test_the_fast_tests_run_from_the_source_distribution(without_torch: Environment, sdist: Path) -> None:
    done = without_torch.try_to_run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", FAST, cwd=sdist)
    assert done.returncode == 0, done.stdout[-6000:]
    passed = int(done.stdout.splitlines()[-1].partition(" passed")[0].split()[-1])
    assert passed > 1000


@pytest.mark.parametrize("arguments", [("list",), ("check",), ("schema",), ("targets",)], ids=lambda each: each[0])
def test_commands_that_need_no_torch(without_torch: Environment, sdist: Path, arguments: tuple[str, ...]) -> None:
    assert without_torch.run("kregistry", *arguments, cwd=sdist)


@pytest.mark.parametrize("arguments", [("plan",), ("build",), ("verify",), ("warmup",), ("doctor",)], ids=str)
def test_commands_that_need_torch(without_torch: Environment, sdist: Path, arguments: tuple[str, ...]) -> None:
    done = without_torch.try_to_run("kregistry", *arguments, cwd=sdist)
    assert done.returncode == 3
    assert "torch" in done.stderr and "Traceback" not in done.stderr
    assert "in a clone of kregistry, pip install '.[deepgemm]'" in done.stderr + done.stdout
