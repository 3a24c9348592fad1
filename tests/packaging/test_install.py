"""Installed editable and as a wheel, kregistry is the same from every directory, and runs nothing that lies there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from environments import Environment

MANIFEST = """\
version: 1
target: h100
models:
  tiny:
    kernels:
      - {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 256}, m: {stop: 4}}
"""
SCRIPT = "import kregistry, kregistry_plugins.hc_prenorm\nprint(kregistry.warmup.__name__, kregistry.__version__)\n"
#: A module that must never be executed: it leaves a trace, and fails.
TRAP = "import os\nos.mkdir({trace!r})\nraise SystemExit('executed ' + __file__)\n"


@pytest.fixture(params=["elsewhere", "parent of the clone", "hostile"])
def place(request: pytest.FixtureRequest, clone: Path, tmp_path: Path) -> Path:
    """The current directory of a user."""
    if request.param == "parent of the clone":
        return clone.parent
    directory = tmp_path / "here"
    directory.mkdir()
    if request.param == "hostile":
        names = ["kregistry/__init__.py", "kregistry/cli/__init__.py", "plugins/__init__.py"]
        names += ["kregistry_plugins/__init__.py", "json.py", "torch.py", "deep_gemm.py", "sitecustomize.py"]
        for name in names:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(TRAP.format(trace=str(tmp_path / "executed")))
    return directory


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "one-entry.yaml"
    path.write_text(MANIFEST)
    return path


def test_a_script_imports_both_packages(environment: Environment, place: Path, tmp_path: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text(SCRIPT)
    assert environment.run("python", script, cwd=place).startswith("warmup ")


def test_a_script_beside_the_clone_imports_both_packages(environment: Environment, clone: Path) -> None:
    """Python looks beside the script first, where a folder `kregistry` lies: the clone."""
    script = clone.parent / "serve.py"
    script.write_text(SCRIPT)
    assert environment.run("python", "serve.py", cwd=clone.parent).startswith("warmup ")


def test_the_commands_work(environment: Environment, place: Path, manifest: Path, tmp_path: Path) -> None:
    plan = json.loads(environment.run("kregistry", "plan", manifest, "--json", cwd=place))
    assert len(plan["kernels"]) == 1
    storage = ("--store", tmp_path / "store", "--cache-dir", tmp_path / "cache")
    report = json.loads(environment.run("kregistry", "build", manifest, *storage, "--json", cwd=place))
    assert report["ready"] == 1
    findings = json.loads(environment.run("kregistry", "doctor", "--json", cwd=place))
    assert all(each["ok"] for each in findings)
    assert "stub GPU" in {each["subject"] for each in findings}
    assert not (tmp_path / "executed").exists()


def test_pages_that_messages_point_to_are_installed(environment: Environment, clone: Path, tmp_path: Path) -> None:
    page = environment.run("kregistry", "docs", "broken-kernels", cwd=tmp_path)
    assert page == (clone / "docs" / "broken-kernels.md").read_text()


AUTHOR = """\
from kregistry import Call, KernelType, warmup
from kregistry_plugins.hc_prenorm import kregistry_kernel_types

class Mine(KernelType):
    name = 1

reveal_type(warmup)
reveal_type(kregistry_kernel_types)
"""


def test_mypy_sees_the_types_of_both_packages(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "author.py").write_text(AUTHOR)
    (tmp_path / "mypy.ini").write_text("[mypy-torch.*]\nfollow_imports = skip\n")  # it takes a minute to read
    done = environment.try_to_run("python", "-m", "mypy", "--strict", "author.py", cwd=tmp_path)
    lines = done.stdout.splitlines()
    (error,) = [line for line in lines if ": error: " in line]
    assert 'base class "AuthorContract" defined the type as "str"' in error
    revealed = [line.partition("Revealed type is ")[2] for line in lines if "Revealed type" in line]
    assert len(revealed) == 2, done.stdout
    assert "-> kregistry.warm_up.warmup_report.WarmupReport" in revealed[0]
    assert "kregistry.kernel_type.contract.KernelType" in revealed[1]
