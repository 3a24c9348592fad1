"""Variables that an installed DeepGEMM brings with it count as if the shell had set them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from compilers import copying_toolkit

from kregistry.deep_gemm.preset import adopt_preset, forget_preset, preset
from kregistry.toolchain import Toolchain


@pytest.fixture
def built_from_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package ``deep_gemm`` in front of the installed one."""
    package = tmp_path / "site" / "deep_gemm"
    package.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(package.parent))
    for name in [name for name in sys.modules if name.partition(".")[0] == "deep_gemm"]:
        monkeypatch.delitem(sys.modules, name)
    (package / "__init__.py").touch()
    return package


@pytest.mark.parametrize(
    "text",
    [
        "# Pre-installed\npersistent_envs = dict()\n"
        "persistent_envs['DG_JIT_CACHE_DIR'] = '/c'\npersistent_envs['DG_JIT_CPP_STANDARD'] = '17'\n",
        "persistent_envs = {'DG_JIT_CACHE_DIR': '/c', 'DG_JIT_CPP_STANDARD': '17'}\n",
    ],
)
def test_what_its_import_would_set_is_read_and_the_shell_goes_before(built_from_source: Path, text: str) -> None:
    (built_from_source / "envs.py").write_text(text)
    assert preset() == {"DG_JIT_CACHE_DIR": "/c", "DG_JIT_CPP_STANDARD": "17"}
    environment = {"DG_JIT_CPP_STANDARD": "20"}
    adopt_preset(environment)
    assert environment == {"DG_JIT_CACHE_DIR": "/c", "DG_JIT_CPP_STANDARD": "20"}


@pytest.mark.parametrize("text", ["", "persistent_envs = dict(\n", "x = 1\npersistent_envs.update(a='b')\n"])
def test_a_file_without_any_is_none(built_from_source: Path, text: str) -> None:
    assert preset() == {}
    (built_from_source / "envs.py").write_text(text)
    assert preset() == {}


def test_a_dry_run_forgets_what_it_does_not_inherit() -> None:
    environment = {"HOME": "/h", "DG_USE_TEMP_CUBLASLT_WORKSPACE": "1"}
    before = set(environment)
    environment.update(DG_JIT_CACHE_DIR="/c", DG_JIT_CPP_STANDARD="17", DG_JIT_DUMP_SASS="1", DG_NEW="1")
    forget_preset(before, environment)
    assert environment == {
        "HOME": "/h",
        "DG_USE_TEMP_CUBLASLT_WORKSPACE": "1",
        "DG_JIT_CPP_STANDARD": "17",
        "DG_NEW": "1",
    }


@pytest.mark.stub
@pytest.mark.slow
def test_kernels_go_where_such_a_deep_gemm_looks_for_them(
    toolchain: Toolchain, cubin: bytes, built_from_source: Path, tmp_path: Path
) -> None:
    """Plan and build with it: nothing is written to its cache but the kernels, and they have its C++ standard."""
    spec = importlib.util.find_spec("deep_gemm")  # of this test: it has no file but __init__.py
    assert spec is not None and spec.origin == str(built_from_source / "__init__.py")
    installed = subprocess.run(
        [sys.executable, "-c", "import importlib.util as u; print(u.find_spec('deep_gemm').origin)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (built_from_source / "__init__.py").unlink()
    for each in Path(installed).parent.iterdir():
        if each.name not in ("__pycache__", "envs.py"):
            (built_from_source / each.name).symlink_to(each)
    cache = tmp_path / "cache"
    preset_text = {"DG_JIT_CACHE_DIR": str(cache), "DG_JIT_CPP_STANDARD": "23"}
    (built_from_source / "envs.py").write_text(f"persistent_envs = {preset_text!r}\n")
    manifest = tmp_path / "kernels.yaml"
    manifest.write_text(
        "version: 1\ntarget: h100\nmodels: {tiny: {kernels: ["
        "{type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 256}, m: {stop: 4}}]}}\n"
    )
    paths = os.pathsep.join(filter(None, [str(built_from_source.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "kregistry", "build", str(manifest), "--json"],
        env={
            **os.environ,
            "PYTHONPATH": paths,
            "CUDA_HOME": str(copying_toolkit(tmp_path / "cuda", toolchain, cubin)),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ready"] == 1
    assert len(list(cache.rglob("kernel.cubin"))) == 1
    assert list(Path(os.environ["HOME"]).rglob("*.cubin")) == []
    (plan,) = (Path(os.environ["KREGISTRY_STORE"]) / "plans").iterdir()
    assert "-std=c++23" in plan.read_text()
