"""What the machine has, found without importing it; and how what is missing is named."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from kregistry import toolchain
from kregistry.deep_gemm.compiler import nvcc_version
from kregistry.errors import MissingRequirement
from kregistry.toolchain import find_c_compiler, find_cuda_toolkit, find_toolchain

HINT = (
    "in a clone of kregistry, pip install '.[deepgemm]' installs torch, DeepGEMM and the CUDA compiler; for the "
    "kernels of a server, run kregistry in the environment of its engine instead"
)
NO_COMPILER = (
    "set CUDA_HOME to a CUDA toolkit, or unset it and run pip install 'cuda-toolkit[nvcc,cccl,crt,nvvm]'; torch and "
    "DeepGEMM stay as they are"
)


def toolkit(home: Path, version: str = "V13.0.1", header: bool = True) -> Path:
    """A directory that looks like a CUDA toolkit."""
    nvcc = home / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release 13.0, {version}'\n")
    nvcc.chmod(0o755)
    (home / "include").mkdir()
    if header:
        (home / "include" / "cuda.h").touch()
    return home


@pytest.mark.stub
def test_this_machine_has_what_planning_needs() -> None:
    found = find_toolchain()
    assert found.cuda.nvcc.is_file() and (found.cuda.include / "cuda_runtime_api.h").is_file()
    assert Path(found.c_compiler).is_file()
    assert all(found.versions.to_json().values())
    assert "torch" not in sys.modules or found.versions.torch.startswith(sys.modules["torch"].__version__[:3])


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH"])
def test_a_variable_names_the_toolkit(tmp_path: Path, variable: str) -> None:
    found = find_cuda_toolkit({variable: str(toolkit(tmp_path / "cuda"))})
    assert (found.home, found.version, found.found_by) == (tmp_path / "cuda", "13.0.1", variable)


def test_cuda_home_comes_first_and_nothing_else_is_tried(tmp_path: Path) -> None:
    good = toolkit(tmp_path / "good")
    environment = {"CUDA_HOME": str(tmp_path / "bad"), "CUDA_PATH": str(good), "PATH": str(good / "bin")}
    with pytest.raises(MissingRequirement) as caught:
        find_cuda_toolkit(environment)
    assert caught.value.message == f"no CUDA compiler (bin/nvcc and include/cuda.h) in {tmp_path}/bad (CUDA_HOME)"
    assert caught.value.hint == NO_COMPILER
    assert caught.value.exit_code == 3


def test_nvcc_on_the_path(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda", "V12.9.41")
    found = find_cuda_toolkit({"PATH": str(home / "bin")})
    assert (found.home, found.version, found.found_by) == (home, "12.9.41", "nvcc on PATH")


def test_an_nvcc_without_headers_is_passed_over(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda", header=False)
    try:
        assert find_cuda_toolkit({"PATH": str(home / "bin")}).home != home
    except MissingRequirement as error:
        assert f"{home} (nvcc on PATH), /usr/local/cuda (/usr/local/cuda)" in error.message


@pytest.mark.parametrize(("variable", "place"), [("CUDA_HOME", "."), ("PATH", "bin")])
def test_the_search_path_is_not_asked_for_where_a_compiler_is_found_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, place: str
) -> None:
    home = toolkit(tmp_path / "cuda")
    monkeypatch.setattr(toolchain, "search_path", lambda: pytest.fail("the search path was asked for"))
    assert find_cuda_toolkit({variable: str(home / place)}).home == home


def test_the_wheels_in_site_packages_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = toolkit(tmp_path / "own" / "nvidia" / "cu13")
    elsewhere = toolkit(tmp_path / "elsewhere" / "nvidia" / "cu13")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "own"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "own"), str(tmp_path / "elsewhere")])
    candidates = list(toolchain._candidates({"PATH": ""}))
    wheels = "wheels in site-packages"
    assert candidates == [(Path("/usr/local/cuda"), "/usr/local/cuda"), (home, wheels), (elsewhere, wheels)]


def test_an_nvcc_that_does_not_run(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda")
    home.joinpath("bin", "nvcc").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(MissingRequirement, match=r"nvcc does not run: .*exit status 1"):
        find_cuda_toolkit({"CUDA_HOME": str(home)})


def test_an_nvcc_without_a_version(tmp_path: Path) -> None:
    with pytest.raises(MissingRequirement, match=r"names no version: 'Cuda .* none'"):
        nvcc_version(toolkit(tmp_path / "cuda", "none") / "bin" / "nvcc")


def test_the_c_compiler_of_the_environment_comes_first(tmp_path: Path) -> None:
    for name in ("mycc", "gcc"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert find_c_compiler({"CC": "mycc", "PATH": str(tmp_path)}) == str(tmp_path / "mycc")
    assert find_c_compiler({"CC": "nothing", "PATH": str(tmp_path)}) == str(tmp_path / "gcc")


def test_no_c_compiler(tmp_path: Path) -> None:
    with pytest.raises(MissingRequirement) as caught:
        find_c_compiler({"PATH": str(tmp_path)})
    assert str(caught.value) == ("no C compiler (cc, gcc or clang) on PATH\nhint: apt-get install g++, or set CC")


def fake_torch(directory: Path, version: str) -> None:
    """Metadata and a module of a torch without CUDA."""
    metadata = directory / f"torch-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    (directory / "torch").mkdir()
    (directory / "torch" / "__init__.py").touch()


@pytest.mark.parametrize("version", ["2.11.0+cpu", "2.11.0"])
def test_a_torch_without_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    fake_torch(tmp_path / "site", version)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with pytest.raises(MissingRequirement) as caught:
        find_toolchain()
    assert caught.value.message == (
        f"torch {version} is a build without CUDA; planning runs CUDA's host code, although no GPU"
    )
    assert caught.value.hint.startswith("pip uninstall torch, then pip install torch==2.11.0: PyPI has the CUDA build")


def test_no_torch_and_no_deep_gemm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    for name in ("torch", "deep_gemm"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingRequirement) as caught:
        toolchain.torch_version()
    assert str(caught.value) == f"torch is not installed\nhint: {HINT}"
    with pytest.raises(MissingRequirement) as caught:
        toolchain.require_deep_gemm()
    assert str(caught.value) == f"DeepGEMM (the module deep_gemm) is not installed\nhint: {HINT}"


def test_the_environment_is_read_when_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", str(toolkit(tmp_path / "cuda")))
    assert find_cuda_toolkit().home == Path(os.environ["CUDA_HOME"])
