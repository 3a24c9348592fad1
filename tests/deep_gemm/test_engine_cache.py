"""Where an engine's server looks for kernels, by its version and environment."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

from kregistry.deep_gemm import engine_cache as module
from kregistry.deep_gemm.engine_cache import engine_cache, installed_engines

HOME = {"HOME": "/home/me"}


@frozen
class Case:
    engine: str
    variables: dict[str, str]
    directory: str
    decided_by: str


CASES = [
    Case("sglang", {}, "/home/me/.cache/sglang/deep_gemm", "default"),
    Case("sglang", {"SGLANG_CACHE_DIR": "/s"}, "/s/deep_gemm", "SGLANG_CACHE_DIR"),
    Case("sglang", {"SGLANG_CACHE_DIR": "~/s"}, "/home/me/s/deep_gemm", "SGLANG_CACHE_DIR"),
    Case("sglang", {"SGLANG_DG_CACHE_DIR": "/dg", "SGLANG_CACHE_DIR": "/s"}, "/dg", "SGLANG_DG_CACHE_DIR"),
    Case("sglang", {"SGLANG_DG_CACHE_DIR": "~/dg"}, "~/dg", "SGLANG_DG_CACHE_DIR"),
    Case("sglang", {"SGLANG_DG_CACHE_DIR": "dg"}, "dg", "SGLANG_DG_CACHE_DIR"),
    Case("sglang", {"DG_JIT_CACHE_DIR": "/ignored"}, "/home/me/.cache/sglang/deep_gemm", "default"),
    Case("sglang", {"XDG_CACHE_HOME": "/ignored"}, "/home/me/.cache/sglang/deep_gemm", "default"),
    Case("vllm", {}, "/home/me/.cache/vllm/deep_gemm", "default"),
    Case("vllm", {"XDG_CACHE_HOME": "/x"}, "/x/vllm/deep_gemm", "XDG_CACHE_HOME"),
    Case("vllm", {"XDG_CACHE_HOME": "/x", "VLLM_CACHE_ROOT": "~/v"}, "/home/me/v/deep_gemm", "VLLM_CACHE_ROOT"),
    Case("vllm", {"VLLM_CACHE_ROOT": "v"}, "v/deep_gemm", "VLLM_CACHE_ROOT"),
    Case("vllm", {"VLLM_CACHE_ROOT": "/v", "DG_JIT_CACHE_DIR": "/own"}, "/own", "DG_JIT_CACHE_DIR"),
    Case("vllm", {"DG_JIT_CACHE_DIR": ""}, "/home/me/.cache/vllm/deep_gemm", "default"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.engine} {case.variables or 'default'}")
def test_the_directory_of_an_engine(case: Case) -> None:
    found = engine_cache(case.engine, {**HOME, **case.variables})
    assert (str(found.directory), found.decided_by) == (case.directory, case.decided_by)


def sglang(directory: Path, environ: str) -> Path:
    """A package that looks like an SGLang."""
    (directory / "sglang" / "srt").mkdir(parents=True)
    (directory / "sglang" / "__init__.py").touch()
    (directory / "sglang" / "srt" / "environ.py").write_text(environ)
    info = directory / "sglang-0.5.15.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sglang\nVersion: 0.5.15\n")
    return directory


def test_an_older_sglang_has_another_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(sglang(tmp_path, 'SGLANG_DG_CACHE_DIR = EnvStr("~/.cache/deep_gemm")\n')))
    monkeypatch.delitem(sys.modules, "sglang", raising=False)
    found = engine_cache("sglang", HOME)
    assert (found.version, str(found.directory)) == ("0.5.15", "/home/me/.cache/deep_gemm")
    assert "sglang" in installed_engines() and "sglang" not in sys.modules
    assert str(engine_cache("sglang", {**HOME, "SGLANG_DG_CACHE_DIR": "/dg"}).directory) == "/dg"


def test_without_an_engine_its_recent_version_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_version", lambda name: "")
    assert installed_engines() == ()
    assert engine_cache("sglang", HOME).version == ""
    assert str(engine_cache("sglang", HOME).directory) == "/home/me/.cache/sglang/deep_gemm"


#: What each engine does before it imports deep_gemm.
_SET_BY = {
    "sglang": "import sglang.srt.layers.deep_gemm_wrapper.compile_utils",
    "vllm": "import vllm.utils.deep_gemm as u\nu._lazy_init()",
}


#: Of each engine its default, and what it does with a variable of its own and with ``~``.
_CHECKED = [CASES[index] for index in (0, 2, 4, 8, 10, 12)]


@pytest.mark.engines
@pytest.mark.parametrize("case", _CHECKED, ids=lambda case: f"{case.engine} {case.variables or 'default'}")
def test_the_engine_itself_sets_this_directory(case: Case, tmp_path: Path) -> None:
    if importlib.util.find_spec(case.engine) is None:
        pytest.skip(f"{case.engine} is not installed")
    home = str(tmp_path)
    variables = {name: value.replace("/home/me", home) for name, value in case.variables.items()}
    environment = {name: os.environ[name] for name in ("PATH", "CUDA_HOME", "PYTHONPATH") if name in os.environ}
    code = f"{_SET_BY[case.engine]}\nimport os\nprint('FOUND', os.environ['DG_JIT_CACHE_DIR'])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**environment, "HOME": home, **variables},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    found = [line.removeprefix("FOUND ") for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert found == [case.directory.replace("/home/me", home)], done.stderr[-2000:]
