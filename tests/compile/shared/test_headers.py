"""Headers parsed once, with the real compiler: forks by the number, and every way in which parsing comes to nothing."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from compilers import compiler_with_assembler, compiler_with_front_end
from families import FLAGS, HEADER, family_kernel

from kregistry.compile.nvcc import Nvcc
from kregistry.compile.shared import headers as module
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.headers import Headers, parse_headers
from kregistry.compile.shared.kernel_family import KernelFamily, member_of
from kregistry.compile.shared.ptx import split_ptx
from kregistry.errors import StorageError
from kregistry.toolchain import Toolchain


@pytest.fixture
def nvcc(toolchain: Toolchain) -> Nvcc:
    return Nvcc(toolchain.cuda.nvcc)


def family(tmp_path: Path, header: str = HEADER, flags: tuple[str, ...] = FLAGS) -> KernelFamily:
    (tmp_path / "include").mkdir(exist_ok=True)
    return member_of(family_kernel(tmp_path / "include", 8, header=header, flags=flags)).family


def parse(nvcc: Nvcc, tmp_path: Path, **options: str) -> Headers:
    try:
        return parse_headers(nvcc, family(tmp_path, **options), tmp_path / "scratch")
    finally:
        assert not (tmp_path / "scratch").exists()


def process_of(headers: Headers) -> int:
    return headers._process.pid


def entries(ptx: str) -> tuple[str, ...]:
    return split_ptx(ptx).order


def test_forks_one_after_the_other_and_together(nvcc: Nvcc, tmp_path: Path) -> None:
    headers = parse(nvcc, tmp_path)
    expected = {n: (f"_ZN5gemms4gemmILi{n}EEEvPi",) for n in range(8)}
    found: dict[int, tuple[str, ...]] = {}

    def generate(n: int) -> None:
        found[n] = entries(headers.generate([f"&gemm<{n}>"], tmp_path / f"scratch-{n}"))

    generate(0)
    threads = [threading.Thread(target=generate, args=(n,)) for n in range(1, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    headers.close()
    assert found == expected
    assert not list(tmp_path.glob("scratch*"))


def test_relative_scratch_directories(nvcc: Nvcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    headers = parse_headers(nvcc, family(tmp_path), Path("scratch"))
    assert len(entries(headers.generate(["&gemm<8>"], Path("scratch")))) == 1
    headers.close()
    assert not (tmp_path / "scratch").exists()


def test_the_header_is_read_once(nvcc: Nvcc, tmp_path: Path) -> None:
    headers = parse(nvcc, tmp_path)
    (tmp_path / "include" / "gemm.cuh").write_text("#error read again")
    assert len(entries(headers.generate(["&gemm<8>", "&gemm<16>"], tmp_path / "scratch"))) == 2
    headers.close()


def test_a_kernel_that_does_not_compile_fails_its_fork_alone(nvcc: Nvcc, tmp_path: Path) -> None:
    headers = parse(nvcc, tmp_path)
    with pytest.raises(CannotShare, match=r"^the shared front end failed: .*static assertion failed .*too large"):
        headers.generate(["&gemm<8>", "&gemm<2000>"], tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()
    assert len(entries(headers.generate(["&gemm<8>"], tmp_path / "scratch"))) == 1
    headers.close()


def test_nothing_runs_after_the_end(nvcc: Nvcc, tmp_path: Path) -> None:
    headers = parse(nvcc, tmp_path)
    headers.generate(["&gemm<8>"], tmp_path / "scratch")
    headers.close()
    with pytest.raises(ProcessLookupError):
        os.killpg(process_of(headers), 0)


def test_a_front_end_that_died(nvcc: Nvcc, tmp_path: Path) -> None:
    headers = parse(nvcc, tmp_path)
    os.killpg(process_of(headers), signal.SIGKILL)
    os.waitid(os.P_PID, process_of(headers), os.WEXITED | os.WNOWAIT)
    with pytest.raises(CannotShare, match=r"^the shared front end failed: exit code -1$"):
        headers.generate(["&gemm<8>"], tmp_path / "scratch")
    headers.close()


def test_a_front_end_that_hangs(nvcc: Nvcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = parse(nvcc, tmp_path)
    os.killpg(process_of(headers), signal.SIGSTOP)
    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.2)
    with pytest.raises(CannotShare, match=r"^the shared front end failed: exit code -1$"):
        headers.generate(["&gemm<8>"], tmp_path / "scratch")
    headers.close()


def test_a_front_end_that_never_gets_behind_the_headers(
    toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.2)
    nvcc = Nvcc(compiler_with_front_end(tmp_path / "nvcc", toolchain.cuda.nvcc, "sleep 600; true"))
    with pytest.raises(CannotShare, match=r"^the shared front end failed: exit code -9$"):
        parse(nvcc, tmp_path)


@pytest.mark.parametrize("hangs", ["cicc", "gcc"])
def test_a_program_that_hangs_while_headers_pass_through(
    toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    """More than a pipe holds waits for a front end, and a front end for more than a preprocessor writes."""
    monkeypatch.setattr(module, "LIMIT_SECONDS", 1.0)
    path = tmp_path / "nvcc"
    if hangs == "cicc":
        nvcc = compiler_with_front_end(path, toolchain.cuda.nvcc, "sleep 600; true")
    else:
        nvcc, slow = path, tmp_path / "slow"
        slow.write_text('#!/bin/sh\ncase " $* " in *" -E "*) sleep 600 ;; *) exec gcc "$@" ;; esac\n')
        path.write_text(OTHER_PREPROCESSOR.format(nvcc=toolchain.cuda.nvcc, program=slow))
        for each in (path, slow):
            each.chmod(0o755)
    with pytest.raises(CannotShare, match=r"^the shared front end failed: exit code -9$"):
        parse(Nvcc(nvcc), tmp_path, header=HEADER + 10_000 * "extern int x;\n")


#: Says of itself that another program is its preprocessor.
OTHER_PREPROCESSOR = """#!/bin/sh
case " $* " in *" --dryrun "*) {nvcc} "$@" 2>&1 | sed 's,^#\\$ gcc ,#$ {program} ,'; exit ;; esac
exec {nvcc} "$@"
"""


def test_stopping_ends_it(nvcc: Nvcc, tmp_path: Path) -> None:
    headers = parse(nvcc, tmp_path)
    nvcc.stop()
    headers.close()
    with pytest.raises(CannotShare, match="stopped"):
        parse(nvcc, tmp_path)


def test_a_header_that_does_not_compile_fails_every_fork(nvcc: Nvcc, tmp_path: Path) -> None:
    """Compilers go on after an error; the log of the fork has what was said before."""
    headers = parse(nvcc, tmp_path, header=HEADER + "int broken = undeclared;\n")
    with pytest.raises(CannotShare, match=r"^the shared front end failed: "):
        headers.generate(["&gemm<8>"], tmp_path / "scratch")
    headers.close()


def test_a_header_that_is_not_there(nvcc: Nvcc, tmp_path: Path) -> None:
    missing = family(tmp_path)
    (tmp_path / "include" / "gemm.cuh").unlink()
    with pytest.raises(CannotShare, match=r"^the shared front end failed: .*gemm.cuh: No such file or directory"):
        parse_headers(nvcc, missing, tmp_path / "scratch")


def test_a_header_that_takes_the_place_of_the_kernels(nvcc: Nvcc, tmp_path: Path) -> None:
    with pytest.raises(CannotShare, match=r"^the preprocessor left no place for the kernels$"):
        parse(nvcc, tmp_path, header=HEADER + "#define kregistry_kernels 0\n")


def test_a_compiler_without_words(tmp_path: Path) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\nexit 3\n")
    nvcc.chmod(0o755)
    with pytest.raises(CannotShare, match=r"^the shared front end failed: exit code 3$"):
        parse(Nvcc(nvcc), tmp_path)


def test_an_assembler_that_is_not_there(toolchain: Toolchain, tmp_path: Path) -> None:
    """Told before the headers are parsed."""
    nvcc = Nvcc(compiler_with_assembler(tmp_path / "nvcc", toolchain.cuda.nvcc, "no-such-assembler"))
    with pytest.raises(CannotShare, match=r"^no-such-assembler is not where nvcc looks for it$"):
        parse(nvcc, tmp_path)


#: Says of itself that the real preprocessor is followed by another program.
OTHER_FRONT_END = """#!/bin/sh
case " $* " in *" --dryrun "*) {nvcc} "$@" 2>&1 | sed 's,^#\\$ .*/cicc" ,#$ {program} ,'; exit ;; esac
exec {nvcc} "$@"
"""


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("true", r"^/\S+/true does not stop behind the headers$"),
        ("false", r"^the shared front end failed: exit code 1$"),
        ("no-such-front-end", r"^no-such-front-end is not where nvcc looks for it$"),
    ],
)
def test_a_front_end_that_does_not_open_the_kernels(
    toolchain: Toolchain, tmp_path: Path, program: str, reason: str
) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(OTHER_FRONT_END.format(nvcc=toolchain.cuda.nvcc, program=program))
    nvcc.chmod(0o755)
    with pytest.raises(CannotShare, match=reason):
        parse(Nvcc(nvcc), tmp_path)


def compiler_whose_front_end_reads(tmp_path: Path, toolchain: Toolchain, files: str) -> Nvcc:
    reads, nvcc = tmp_path / "reads", tmp_path / "nvcc"
    reads.write_text(f"#!/bin/sh\nexec sed -n '' {files}\n")
    nvcc.write_text(OTHER_FRONT_END.format(nvcc=toolchain.cuda.nvcc, program=reads))
    for each in (reads, nvcc):
        each.chmod(0o755)
    return Nvcc(nvcc)


def test_a_front_end_that_leaves_no_ptx(toolchain: Toolchain, tmp_path: Path) -> None:
    """It stops where it opens the kernels, and its fork ends well."""
    headers = parse(compiler_whose_front_end_reads(tmp_path, toolchain, "headers.ii kernels.ii"), tmp_path)
    with pytest.raises(CannotShare, match=r"^the front end left no PTX$"):
        headers.generate(["&gemm<8>"], tmp_path / "scratch")
    headers.close()


@pytest.mark.parametrize("length", [1, 10_000])
def test_a_front_end_that_does_not_read_the_headers(toolchain: Toolchain, tmp_path: Path, length: int) -> None:
    """It ends, also if it leaves more than a pipe holds."""
    nvcc = compiler_whose_front_end_reads(tmp_path, toolchain, "kernels.ii")
    with pytest.raises(CannotShare, match=r"^the shared front end failed: exit code 127$"):
        parse(nvcc, tmp_path, header=HEADER + length * "extern int x;\n")


def test_a_scratch_directory_that_cannot_be_written(nvcc: Nvcc, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        parse_headers(nvcc, family(tmp_path), tmp_path / "file" / "scratch")
    headers = parse(nvcc, tmp_path)
    with pytest.raises(StorageError, match="Not a directory"):
        headers.generate(["&gemm<8>"], tmp_path / "file" / "scratch")
    headers.close()
