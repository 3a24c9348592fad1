"""The preprocessor's text, passed on while it runs: any pieces, and every way in which it comes to nothing."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

from kregistry.compile.nvcc import Nvcc
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.nvcc_dryrun import Commands
from kregistry.compile.shared.preprocessor import Preprocessor

MARK = "kregistry_end_of_headers"
KERNELS = "kregistry_kernels"


@pytest.fixture
def nvcc(tmp_path: Path) -> Nvcc:
    return Nvcc(tmp_path / "nvcc")


def running(nvcc: Nvcc, tmp_path: Path, script: str) -> Preprocessor:
    """A preprocessor that is a shell script; it writes to ``$1``."""
    command = ("sh", "-c", f"exec >$1\n{script}", "preprocess", "out.ii")
    return Preprocessor(nvcc, Commands({}, command, ("cicc",), "out.ii", "out.ptx", ("ptxas",), "out"), tmp_path)


@pytest.mark.parametrize(
    "pieces",
    [
        ["int a;\n", f"{MARK}\n{KERNELS}\n"],
        [f"int a;\n{MARK[:9]}", MARK[9:], f"\n{KERNELS}\n"],
        [f"int a;\n{MARK}\n{KERNELS}\n"],
        [*"int a;\n", *MARK, "\n", *KERNELS, "\n"],
    ],
)
def test_the_text_is_divided_at_the_mark(nvcc: Nvcc, tmp_path: Path, pieces: list[str]) -> None:
    script = "\n".join(f"printf '%s' '{each}'" for each in pieces)
    headers = io.BytesIO()
    with running(nvcc, tmp_path, script) as preprocessor:
        preprocessor.copy_headers(headers)
        assert preprocessor.text_of_kernels() == f"\n{KERNELS}\n"
    assert headers.getvalue() == b"int a;\n"


def test_headers_come_before_the_end_of_the_preprocessor(nvcc: Nvcc, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    receive, send = os.pipe()
    script = f"echo 'int first; int second; int third;'\nread word <{tmp_path}/go\necho {MARK} {KERNELS}"
    with running(nvcc, tmp_path, script) as preprocessor, os.fdopen(receive, "rb", buffering=0) as read:
        with os.fdopen(send, "wb", buffering=0) as stream:
            copying = threading.Thread(target=preprocessor.copy_headers, args=[stream])
            copying.start()
            assert read.read(10) == b"int first;"
            (tmp_path / "go").write_text("now\n")
            copying.join()
        assert preprocessor.text_of_kernels() == f" {KERNELS}\n"


def test_bytes_that_are_no_text(nvcc: Nvcc, tmp_path: Path) -> None:
    """A header may have any encoding."""
    headers = io.BytesIO()
    with running(nvcc, tmp_path, f"printf '// \\351\\n{MARK}{KERNELS}'") as preprocessor:
        preprocessor.copy_headers(headers)
        assert preprocessor.text_of_kernels() == KERNELS
    assert headers.getvalue() == b"// \xe9\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (f"echo {MARK} {KERNELS}\necho 'x.h:1: error: gone' >&2\nexit 4", r"failed: x\.h:1: error: gone$"),
        (f"echo {MARK[:-1]}\nexit 4", r"failed: exit code 4$"),
        ("echo nothing", r"^the preprocessor left no place for the kernels$"),
        (f"echo {MARK} {KERNELS} {KERNELS}", r"^the preprocessor left no place for the kernels$"),
    ],
)
def test_a_preprocessor_that_fails(nvcc: Nvcc, tmp_path: Path, script: str, reason: str) -> None:
    with running(nvcc, tmp_path, script) as preprocessor:
        preprocessor.copy_headers(io.BytesIO())
        with pytest.raises(CannotShare, match=reason):
            preprocessor.text_of_kernels()


def test_a_reader_that_has_ended(nvcc: Nvcc, tmp_path: Path) -> None:
    """What is left of the text goes nowhere, and the preprocessor still ends well."""
    receive, send = os.pipe()
    os.close(receive)
    script = f"yes 'int a;' | head -c 3000000\necho {MARK} {KERNELS}"
    with running(nvcc, tmp_path, script) as preprocessor, os.fdopen(send, "wb", buffering=0) as stream:
        preprocessor.copy_headers(stream)
        assert KERNELS in preprocessor.text_of_kernels()


def test_it_ends_with_its_block(nvcc: Nvcc, tmp_path: Path) -> None:
    with pytest.raises(KeyError), running(nvcc, tmp_path, "while echo text; do :; done 2>&-"):
        raise KeyError
    assert not nvcc._running


def test_nothing_starts_after_the_end(nvcc: Nvcc, tmp_path: Path) -> None:
    nvcc.stop()
    with pytest.raises(CannotShare, match=r"^stopped$"):
        running(nvcc, tmp_path, "")
