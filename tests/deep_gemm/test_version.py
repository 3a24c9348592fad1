"""The version of DeepGEMM: what the module states, before and after its import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import kregistry
from kregistry.deep_gemm.version import UNKNOWN, deep_gemm_version


def package(directory: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """A ``deep_gemm`` of these files is the only package that can be found."""
    (directory / "deep_gemm").mkdir(parents=True)
    for name, text in {"__init__.py": "", **files}.items():
        (directory / name if "/" in name else directory / "deep_gemm" / name).parent.mkdir(exist_ok=True)
        (directory / name if "/" in name else directory / "deep_gemm" / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(directory)])
    monkeypatch.delitem(sys.modules, "deep_gemm", raising=False)


def metadata(version: str) -> dict[str, str]:
    text = f"Metadata-Version: 2.1\nName: sgl-deep-gemm\nVersion: {version}\n"
    return {f"sgl_deep_gemm-{version}.dist-info/METADATA": text}


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"VERSION": "0.1.4.post1\n"}, "0.1.4.post1"),
        ({"__init__.py": "import os\n__version__ = '2.1.1'\n", **metadata("2.1.1+c9f8b34")}, "2.1.1"),
        ({"VERSION": "0.2.3", **metadata("0.9")}, "0.2.3"),
        (metadata("0.2.5"), "0.2.5"),
        ({"VERSION": "of the day"}, UNKNOWN),
        ({}, UNKNOWN),
    ],
    ids=["file", "literal, the distribution has a label", "file wins", "distribution only", "no version", "nothing"],
)
def test_what_the_module_states_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], version: str
) -> None:
    package(tmp_path, monkeypatch, files)
    assert deep_gemm_version() == kregistry.deep_gemm_version() == version
    assert "deep_gemm" not in sys.modules


@pytest.mark.parametrize(("stated", "version"), [("9.9", "9.9"), ("of the day", "0.2.5"), (None, "0.2.5")])
def test_of_an_imported_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str | None, version: str
) -> None:
    package(tmp_path, monkeypatch, metadata("0.2.5"))
    monkeypatch.setitem(sys.modules, "deep_gemm", SimpleNamespace(__version__=stated))  # type: ignore[arg-type]
    assert deep_gemm_version() == version


def test_without_deep_gemm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "deep_gemm", raising=False)
    assert deep_gemm_version() is None


def test_an_unknown_version_is_older_than_any() -> None:
    from packaging.specifiers import SpecifierSet

    assert SpecifierSet("<0.1").contains(UNKNOWN) and not SpecifierSet(">=0.1").contains(UNKNOWN)


@pytest.mark.stub
def test_the_installed_one_is_the_same_before_and_after_its_import(tmp_path: Path) -> None:
    from on_stub import environment

    code = """
from kregistry import deep_gemm_version
before = deep_gemm_version()
import deep_gemm
assert before == deep_gemm_version() == deep_gemm.__version__, (before, deep_gemm_version(), deep_gemm.__version__)
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
