"""The gallery in manifests/: fresh, valid, and plannable."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from kregistry import Registry, load_manifest
from kregistry.cli.output_file import is_own_output
from kregistry.manifest import Manifest

ROOT = Path(__file__).parent.parent.parent
#: Quick checks sweep every 97th value: a prime, so that all residues of 16 and 64 are met.
STRIDE = 97


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "tools" / "gallery.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def paths(gallery: ModuleType) -> list[Path]:
    return [ROOT / "manifests" / f"{name}.yaml" for name in gallery.settings()]


@pytest.fixture(scope="module")
def manifests(paths: list[Path], installed: Registry) -> dict[str, Manifest]:
    """Name of the file -> what it says."""
    return {path.name: load_manifest(path, installed) for path in paths}


def test_fresh(gallery: ModuleType, paths: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`python tools/gallery.py write` would change nothing, and no file is left over."""
    written = gallery.write(tmp_path)
    assert [path.name for path in written] == [path.name for path in paths if not gallery.rehearsed(path.stem)]
    stale = [new.name for new in written if new.read_bytes() != (ROOT / "manifests" / new.name).read_bytes()]
    assert stale == []
    kept = {path.name for path in (ROOT / "manifests").glob("*.yaml")}
    assert kept == {path.name for path in paths} | {"gallery.yaml"}


def test_rehearsed_manifests_are_of_their_setting_and_unchanged(gallery: ModuleType, paths: list[Path]) -> None:
    """`python tools/gallery.py rehearse` writes them again where the engines are installed."""
    found = [path for path in paths if gallery.rehearsed(path.stem)]
    assert found
    for path in found:
        assert is_own_output(path), path.name
        text = " ".join(path.read_text(encoding="utf-8").replace("\n#", " ").split())
        before, _, after = gallery.settings()[path.stem].replace("CONFIGS/", "").partition(" -- ")
        variables, rehearse, options = before.partition("rehearse ")
        assert f"Written by: {variables}kregistry {rehearse}{options}" in text and after in text, path.name


def test_every_model_is_there(manifests: dict[str, Manifest]) -> None:
    models = {name for manifest in manifests.values() for name in manifest.models}
    assert models == {
        "deepseek-v3",
        "deepseek-v3.2",
        "deepseek-v4-flash",
        "deepseek-v4-pro",
        "kimi-k2",
        "glm-5",
        "qwen3-30b-a3b",
        "qwen3-235b-a22b",
        "qwen3-32b",
        "qwen3-next-80b-a3b",
        "minimax-m2.5",
        "mimo-v2-flash",
        "qwen3.5-9b",
        "qwen3.5-35b-a3b",
        "step-3.7-flash",
    }


def test_r1_is_v3(gallery: ModuleType, resolve: object) -> None:
    assert callable(resolve)
    setting = {"tp": 8, "dp": 8, "a2a": "deepep"}
    assert resolve("deepseek-r1", "sglang", **setting).sites == resolve("deepseek-v3", "sglang", **setting).sites


@pytest.mark.stub
@pytest.mark.parametrize("target", ["h100", "b200"])
def test_plannable(
    gallery: ModuleType,
    installed: Registry,
    target: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Every manifest plans without a problem; ranges are thinned, tools/gallery.py plan sweeps all of them."""
    stub = tmp_path_factory.getbasetemp() / "gallery-stub"
    paths = gallery.paths_of(target)
    plans = gallery.plan_together(paths, installed, target, stride=STRIDE, stub_directory=stub)
    assert list(plans) == paths and paths
    for path, plan in plans.items():
        assert plan.problems() == (), path.name
        assert all(planned.kernels() for planned in plan.entries), path.name


def test_the_table_is_complete(manifests: dict[str, Manifest]) -> None:
    """docs/gallery.md has a row for each manifest, with its number of entries."""
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\S+\.yaml) \| (?:init|rehearse) \| `[^`]*` \| (\d+) \|", text, flags=re.MULTILINE))
    assert rows == {name: str(len(manifest.entries)) for name, manifest in manifests.items()}
