"""Forks of one process stand in for the processes of rehearsals: each has its own time, environment and output."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kregistry.errors import IncompleteError
from kregistry.rehearsal import rehearse as module
from kregistry.rehearsal.rehearse import Rehearsal
from kregistry.target import get_target
from tools import forked_rehearsals
from tools.forked_rehearsals import ForkedRehearsals

#: A server whose engine does what its first argument says; it notes each import.
ENGINE = """
import os, runpy, signal, socket, sys, tempfile, time
from kregistry.rehearsal.findings import Facts, write_line

def importing(engine, out):
    if "IMPORT_FAILS" in os.environ:
        sys.exit(1)
    with open(os.environ["IMPORTS"], "a") as imports:
        imports.write("import\\n")

    class Running:
        def __init__(self, arguments):
            self.what = arguments[0]

        def load(self):
            print("this is", self.what, flush=True)
            if self.what == "hangs":
                with open(os.environ["IMPORTS"] + ".pid", "x") as file:
                    file.write(f"{os.getpid()}\\n")
                time.sleep(600)
            if self.what == "dies":
                os._exit(3)
            if self.what == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)

        def serve(self):
            text = os.environ.get("TMPDIR", "") + " " + tempfile.gettempdir()
            write_line(out, Facts(text, 1, 1, 0))

    return Running

try:
    runpy.run_path({server!r})["serve"](sys.argv[1], socket.socket(fileno=int(sys.argv[2])), importing)
except BrokenPipeError:
    pass
"""

Run = Callable[..., Rehearsal]


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "imports"
    monkeypatch.setenv("IMPORTS", str(file))
    server = tmp_path / "server.py"
    server.write_text(ENGINE.replace("{server!r}", repr(str(forked_rehearsals._SERVER))))
    monkeypatch.setattr(forked_rehearsals, "_SERVER", server)
    monkeypatch.setattr(module, "_installed", lambda engine, any_version: "1")
    return file


@pytest.fixture
def rehearse(imports: Path) -> Iterator[Run]:
    def run(what: str, seconds: float = 100, target: str = "h100") -> Rehearsal:
        return module.rehearse("sglang", get_target(target), (what,), seconds=seconds)

    with ForkedRehearsals() as forks, forks.used():
        yield run


@pytest.mark.stub
def test_a_fork_that_ends_early_does_not_disturb_the_next(
    rehearse: Run, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named as a process of its own would be, and the engine is imported once."""
    with pytest.raises(IncompleteError, match="it has ended with code 3: this is dies"):
        rehearse("dies")
    with pytest.raises(IncompleteError, match="it has ended with code -9: this is is killed"):
        rehearse("is killed")
    with pytest.raises(IncompleteError, match="it has not ended after 2 s"):
        rehearse("hangs", seconds=2)
    monkeypatch.setenv("TMPDIR", str(imports.parent))
    facts = rehearse("serves").findings.facts
    assert facts is not None and facts.architecture == f"{imports.parent} {imports.parent}"
    assert imports.read_text() == "import\n"


@pytest.mark.stub
def test_what_is_read_at_the_import_imports_the_engine_again(
    rehearse: Run, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another target, and another variable."""
    rehearse("serves")
    rehearse("serves", target="h200")
    rehearse("serves", target="h200")
    assert imports.read_text().count("import") == 2
    monkeypatch.setenv("SGLANG_DSV4_FP4_EXPERTS", "0")
    rehearse("serves", target="h200")
    assert imports.read_text().count("import") == 3


@pytest.mark.stub
def test_an_import_that_fails_is_left_to_a_process_of_its_own(rehearse: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPORT_FAILS", "1")
    monkeypatch.setattr(module, "_CODE", "print('why it fails'); sys.exit(4)")
    with pytest.raises(IncompleteError, match="it has ended with code 4: why it fails"):
        rehearse("serves")


@pytest.mark.stub
def test_the_processes_end(imports: Path) -> None:
    with ForkedRehearsals() as forks, forks.used():
        module.rehearse("sglang", get_target("h100"), ("serves",))
        server = forks._servers["sglang"]._process
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


@pytest.mark.stub
def test_an_interrupt_ends_the_fork(imports: Path) -> None:
    """A fork has a session of its own, which no signal of a terminal reaches."""
    file = imports.with_name("imports.pid")
    with ForkedRehearsals() as forks, forks.used(), ThreadPoolExecutor() as threads:
        running = threads.submit(module.rehearse, "sglang", get_target("h100"), ("hangs",))
        while not running.done() and not (file.exists() and file.read_text()):
            time.sleep(0.05)
        forks.forget(forks._servers["sglang"])
        assert running.exception() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
