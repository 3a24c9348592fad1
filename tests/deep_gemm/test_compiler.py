"""Which nvcc compiles: the one that DeepGEMM would use, and no program of kregistry that stands in for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.deep_gemm import nvcc_answers
from kregistry.deep_gemm.compiler import Compiler, check_architecture, compiler_error, named_compiler, nvcc_version
from kregistry.deep_gemm.variables import Series
from kregistry.errors import MissingRequirement
from kregistry.toolchain import Toolchain, compiler_remarks, find_cuda_toolkit

ONE, TWO = Series.ONE, Series.TWO


def nvcc(path: Path, version: str = "13.0.1", dry_run: str = "") -> Path:
    """A compiler that answers ``--version`` and ``--dryrun``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!/bin/sh\ncase $1 in\n--dryrun) cat >&2 <<'E'\n{dry_run}\nE\n;;\n"
        f"*) echo 'Cuda compilation tools, release x, V{version}' ;;\nesac\n"
    )
    path.chmod(0o755)
    return path


def toolkit(home: Path, version: str = "13.0.1") -> Path:
    nvcc(home / "bin" / "nvcc", version)
    (home / "include").mkdir()
    (home / "include" / "cuda.h").touch()
    return home


@pytest.mark.parametrize(
    ("variables", "series", "found"),
    [
        ({}, ONE, None),
        ({"DG_JIT_NVCC_COMPILER": "a"}, ONE, "a"),
        ({"DJ_JIT_NVCC_COMPILER": "a"}, ONE, None),
        ({"DJ_JIT_NVCC_COMPILER": "a"}, TWO, "a"),
        ({"DG_JIT_NVCC_COMPILER": "a", "DJ_JIT_NVCC_COMPILER": "b"}, TWO, "a"),
        ({"DG_JIT_NVCC_COMPILER": "", "DJ_JIT_NVCC_COMPILER": "b"}, TWO, None),
        ({"DG_JIT_NVCC_COMPILER": "nvcc_monitor.sh", "KREGISTRY_MONITORED_NVCC": "a"}, ONE, "a"),
        (
            {
                "DG_JIT_NVCC_COMPILER": "nvcc_monitor.sh",
                "KREGISTRY_MONITORED_NVCC": "nvcc_recorder.sh",
                "KREGISTRY_NVCC": "b",
            },
            ONE,
            "b",
        ),
    ],
)
def test_the_compiler_that_a_variable_names(
    tmp_path: Path, variables: dict[str, str], series: Series, found: str | None
) -> None:
    for name in ("a", "b"):
        nvcc(tmp_path / name)
    environment = {name: str(tmp_path / value) if value else "" for name, value in variables.items()}
    answer = named_compiler(environment, series)
    assert (answer[0] if answer else None) == (tmp_path / found if found else None)


def test_a_named_compiler_goes_before_that_of_the_toolkit(tmp_path: Path) -> None:
    home, other = toolkit(tmp_path / "cuda"), nvcc(tmp_path / "other" / "nvcc", "12.9.41")
    found = find_cuda_toolkit({"CUDA_HOME": str(home), "DG_JIT_NVCC_COMPILER": str(other)})
    assert (found.home, found.nvcc, found.version) == (home, other, "12.9.41")
    assert (found.found_by, found.compiler.found_by) == ("CUDA_HOME", "DG_JIT_NVCC_COMPILER")


def test_a_name_without_directory_is_looked_up_as_a_shell_does(tmp_path: Path) -> None:
    other = nvcc(tmp_path / "bin" / "my-nvcc")
    environment = {"PATH": str(other.parent), "DG_JIT_NVCC_COMPILER": "my-nvcc"}
    assert named_compiler(environment, ONE) == (other, "DG_JIT_NVCC_COMPILER")


def test_the_headers_of_the_toolkit_are_enough_where_a_compiler_is_named(tmp_path: Path) -> None:
    home, other = toolkit(tmp_path / "cuda"), nvcc(tmp_path / "nvcc")
    (home / "bin" / "nvcc").unlink()
    environment = {"CUDA_HOME": str(home), "DG_JIT_NVCC_COMPILER": str(other)}
    assert find_cuda_toolkit(environment).nvcc == other


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "DG_JIT_NVCC_COMPILER={path}: no such program"),
        ("#!/bin/sh\nexit 3\n", "{path} does not run: .* exit status 3"),
        ("#!/bin/sh\necho hello\n", "{path} --version names no version: 'hello'"),
        (
            "#!/bin/sh\necho 'release 12.1, V12.1.105'\n",
            r"nvcc 12.1.105 at {path} \(DG_JIT_NVCC_COMPILER\) is too old: DeepGEMM needs 12.[39] or newer",
        ),
    ],
    ids=["no such file", "does not run", "no version", "too old"],
)
def test_a_compiler_that_cannot_be_used(tmp_path: Path, content: str | None, message: str) -> None:
    home, path = toolkit(tmp_path / "cuda"), tmp_path / "nvcc"
    if content is not None:
        path.write_text(content)
        path.chmod(0o755)
    with pytest.raises(MissingRequirement, match=message.format(path=path)) as caught:
        find_cuda_toolkit({"CUDA_HOME": str(home), "DG_JIT_NVCC_COMPILER": str(path)})
    assert caught.value.exit_code == 3


def test_a_compiler_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that asks for a line in the terminal."""
    monkeypatch.setattr(nvcc_answers, "_ANSWER_SECONDS", 0.2)
    path = tmp_path / "nvcc"
    path.write_text("#!/bin/sh\ncat\nexec sleep 600\n")
    path.chmod(0o755)
    with pytest.raises(MissingRequirement, match=r"does not run: .*timed out after 0\.2 seconds"):
        nvcc_version(path)


@pytest.mark.parametrize(
    ("version", "arch", "needed"),
    [
        ("12.6.20", (10, 0), "12.8"),
        ("12.8.61", (10, 3), "12.9"),
        ("12.6.20", (12, 0), "12.8"),
        ("12.8.61", (10, 0), ""),
    ],
)
def test_a_compiler_that_does_not_know_the_architecture(version: str, arch: tuple[int, int], needed: str) -> None:
    compiler = Compiler(Path("/x/nvcc"), version, "CUDA_HOME")
    check_architecture(compiler, "h100", 9, 0)
    if not needed:
        return check_architecture(compiler, "gpu", *arch)
    with pytest.raises(MissingRequirement) as caught:
        check_architecture(compiler, "gpu", *arch)
    assert caught.value.message == (
        f"nvcc {version} at /x/nvcc (CUDA_HOME) does not know the architecture of gpu (sm_{arch[0]}{arch[1]}): "
        f"CUDA {needed} or newer is needed"
    )


def test_what_a_changed_profile_adds(tmp_path: Path) -> None:
    top = tmp_path / "cuda"
    (top / "include").mkdir(parents=True)
    (tmp_path / "more").mkdir()
    lines = [
        f"#$ TOP={top}/bin/..",
        f'#$ INCLUDES="-I{top}/bin/../include"  "-I{tmp_path}/more"',
        "#$ CUDAFE_FLAGS=",
        "#$ PTXAS_FLAGS= -O1",
    ]
    found = Compiler.at(nvcc(top / "bin" / "nvcc", dry_run="\n".join(lines)), "test", top, {})
    assert found.includes == (top / "include", tmp_path / "more")
    assert found.profile == (f"-I{tmp_path}/more", "PTXAS_FLAGS=-O1")
    assert compiler_remarks({}, found) == [
        f"the nvcc.profile of {found.path} adds -I{tmp_path}/more PTXAS_FLAGS=-O1 to every kernel"
    ]


@pytest.mark.stub
def test_the_profile_of_the_real_compiler_adds_nothing(toolchain: Toolchain) -> None:
    assert toolchain.cuda.compiler.profile == ()
    assert any((place / "cuda_runtime.h").is_file() for place in toolchain.cuda.compiler.includes)


def test_what_is_done_about_the_environment_is_said(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda")
    environment = {"CUDA_HOME": str(home), "NVCC_APPEND_FLAGS": "-lineinfo -ccbin gcc", "CPATH": "/x", "INCLUDES": ""}
    assert compiler_remarks(environment, find_cuda_toolkit(environment).compiler) == [
        "CPATH=/x is not passed on to nvcc: it would change kernels without being in their keys",
        "NVCC_APPEND_FLAGS adds -lineinfo to every kernel: these are other kernels than those without it",
    ]


@pytest.mark.parametrize(
    ("series", "version", "needed"),
    [(ONE, "12.2.140", "12.3"), (ONE, "12.3.52", ""), (TWO, "12.8.61", "12.9"), (TWO, "12.9.41", "")],
)
def test_each_series_of_deep_gemm_has_its_oldest_compiler(
    tmp_path: Path, series: Series, version: str, needed: str
) -> None:
    path = nvcc(tmp_path / "nvcc", version)
    if not needed:
        assert Compiler.at(path, "test", tmp_path, {}, series).version == version
        return
    with pytest.raises(MissingRequirement, match=f"DeepGEMM needs {needed} or newer"):
        Compiler.at(path, "test", tmp_path, {}, series)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("nvcc fatal   : Failed to preprocess host compiler properties.", "nvcc fatal : Failed to preprocess"),
        ("nvcc fatal   : Unknown option '-nonsense'", "Unknown option '-nonsense'"),
        ("x\nsh: 1: /opt/gcc: not found\ny", "sh: 1: /opt/gcc: not found"),
        ("gcc: fatal error: cannot execute 'cc1plus': execvp: No such file", "cannot execute 'cc1plus'"),
        ("host_config.h:143:2: error: #error -- unsupported GNU version! gcc versions later than 15", "GNU version!"),
        ("kernel.cu(3): error: too many registers", ""),
        ("ptxas fatal   : Ptx assembly aborted due to errors", ""),
        ("nvcc error   : 'cicc' died due to signal 9 (Kill signal)", ""),
    ],
)
def test_a_compiler_that_would_fail_with_every_source(tmp_path: Path, output: str, words: str) -> None:
    found = compiler_error(output, nvcc(tmp_path / "nvcc"))
    if not words:
        assert found is None
        return
    assert found is not None and words in found.message and found.exit_code == 3
    assert found.message.startswith(f"nvcc 13.0.1 at {tmp_path / 'nvcc'} cannot compile here: ")


@pytest.mark.nvcc
@pytest.mark.parametrize(
    ("script", "added"),
    [
        ('exec {nvcc} "$@"', []),
        ('exec {nvcc} -ccbin /usr/bin/c++ "$@"', []),
        ('exec {nvcc} -lineinfo "$@"', ["+--generate-line-info", "+-generate-line-info"]),
        ('exec {nvcc} "$@" -Xptxas -O1', ["+-O1"]),
        ('exec {nvcc} -DNDEBUG=7 "$@"', ["+-D", "+NDEBUG=7"]),
    ],
)
def test_a_program_that_starts_nvcc_counts_by_what_it_adds(
    toolchain: Toolchain, tmp_path: Path, script: str, added: list[str]
) -> None:
    """As ccache does, or a script that somebody has put in front of nvcc: none of them is seen in the command."""
    path = tmp_path / "nvcc"
    path.write_text("#!/bin/sh\n" + script.format(nvcc=toolchain.cuda.nvcc) + "\n")
    path.chmod(0o755)
    compiler = Compiler.at(path, "test", toolchain.cuda.home, {})
    assert [each.removeprefix("wrapper: ") for each in compiler.profile] == added
    remark = f"{path} changes the arguments of nvcc for every kernel: {' '.join(added)}"
    assert compiler_remarks({}, compiler) == ([remark] if added else [])
