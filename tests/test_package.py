"""The package as a whole: public names, packaging, and what importing it costs."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kregistry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent


def test_the_public_names_agree_with_the_lazy_table() -> None:
    assert sorted(kregistry.__all__) == sorted(kregistry._HOMES)
    assert len(set(kregistry.__all__)) == len(kregistry.__all__)
    assert {*kregistry.__all__, "__doc__"} <= set(dir(kregistry))


@pytest.mark.parametrize("name", kregistry.__all__)
def test_a_public_name_is_what_its_home_offers(name: str) -> None:
    home = importlib.import_module(f"kregistry.{kregistry._HOMES[name]}")
    assert getattr(kregistry, name) is getattr(home, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kregistry' has no attribute 'nothing'"):
        _ = kregistry.nothing


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert kregistry.__version__ == project["version"]


#: Not a package but data: it is put on the path of a recorded process, where Python imports it by its name.
RECORDED = ROOT / "kregistry" / "recording" / "recorded_process"


def modules(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*.py") if path.parent != RECORDED}


def test_every_package_has_an_init() -> None:
    for directory in (ROOT / "kregistry", ROOT / "plugins"):
        for parent in {path.parent for path in modules(directory)}:
            assert (parent / "__init__.py").exists(), parent


def _place(package: str) -> Path:
    return ROOT.joinpath(*package.split("."))


def _files(directory: Path) -> set[Path]:
    """All files below, behind links too: `kregistry/docs` is one."""
    found = {Path(folder) / name for folder, _, names in os.walk(directory, followlinks=True) for name in names}
    return {path for path in found if "__pycache__" not in path.parts}


def test_every_data_file_is_installed() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packages = {path.parent for name in ("kregistry", "plugins") for path in modules(ROOT / name)}
    covered = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for directory in (packages if package == "*" else [_place(package)])
        for path in directory.glob(pattern)
    }
    files = _files(ROOT / "kregistry") | _files(ROOT / "plugins")
    # Pictures are for the site and the repository: `kregistry docs` prints text.
    present = {path for path in files if (path.suffix != ".py" or path.parent == RECORDED) and path.suffix != ".png"}
    assert present - {ROOT / "kregistry" / "docs" / "catalogue.json"} == covered


def test_the_links_are_links() -> None:
    """In a clone; a source distribution has copies in their place."""
    for link, target in (("kregistry_plugins", "plugins"), ("kregistry/docs", "docs")):
        names = {path.relative_to(ROOT / target) for path in _files(ROOT / target)}
        assert {path.relative_to(ROOT / link) for path in _files(ROOT / link)} >= {
            name for name in names if name.suffix in (".py", ".md")
        }
        if (ROOT / ".git").exists():
            assert (ROOT / link).resolve() == ROOT / target


def test_the_plugins_are_imported_by_one_name() -> None:
    """The root of a clone is on the module search path of an editable install, so that `plugins` is importable too."""
    forbidden = re.compile(r"^\s*(import|from) plugins\b", re.MULTILINE)
    places = [ROOT / name for name in ("kregistry", "plugins", "tests", "tools", "benchmarks", "examples", "docs")]
    files = {ROOT / "README.md", *(path for place in places for path in _files(place))}
    texts = [path for path in files if path.suffix in (".py", ".md", ".in", ".toml")]
    assert [path for path in texts if forbidden.search(path.read_text())] == []


def test_every_plugin_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    families = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    expected = {name: f"kregistry_plugins.{name}" for name in families}
    assert project["entry-points"]["kregistry"] == expected


def test_every_model_family_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    package = "kregistry.hf_config.families"
    modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
    offering = {each.name for each in modules if hasattr(importlib.import_module(f"{package}.{each.name}"), "FAMILY")}
    expected = {name: f"{package}.{name}:FAMILY" for name in offering}
    assert project["entry-points"]["kregistry.model_families"] == expected


def imported(code: str) -> set[str]:
    """Top-level modules after running some code in a new process."""
    code += "\nimport sys\nprint('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


HEAVY = {"torch", "deep_gemm", "rich", "pluggy", "yaml", "cattrs", "hypothesis", "pytest"}


def test_importing_kregistry_imports_nothing_heavy() -> None:
    assert imported("import kregistry") & (HEAVY | {"attrs", "click"}) == set()


def test_help_imports_nothing_heavy() -> None:
    code = "import sys\nfrom kregistry.cli import main\nsys.argv = ['kregistry', '--help']\nmain()"
    assert imported(code) & HEAVY == set()


def test_the_contract_and_the_plugins_import_no_torch() -> None:
    code = "import kregistry\nfor name in kregistry.__all__: getattr(kregistry, name)\nkregistry.Registry()"
    assert imported(code) & {"torch", "deep_gemm", "rich"} == set()


def test_no_module_takes_the_name_of_a_public_function() -> None:
    """A submodule becomes an attribute of its package when it is imported."""
    code = """
import pkgutil, importlib
import kregistry
for module in pkgutil.walk_packages(kregistry.__path__, "kregistry."):
    importlib.import_module(module.name)
for name in kregistry.__all__:
    assert type(getattr(kregistry, name)) is not type(kregistry), name
"""
    imported(code)


def test_importing_every_module_leaves_the_disk_and_the_environment_alone(tmp_path: Path) -> None:
    code = """
import os, pkgutil, importlib
before = dict(os.environ)
import kregistry
for module in pkgutil.walk_packages(kregistry.__path__, "kregistry."):
    importlib.import_module(module.name)
assert dict(os.environ) == before
"""
    files = set(tmp_path.rglob("*"))
    assert imported(code) & {"torch", "deep_gemm"} == set()
    assert set(tmp_path.rglob("*")) == files
