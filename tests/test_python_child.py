"""Python children: they find what their parent finds, and nothing that is only in the current directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kregistry import python_child
from kregistry.python_child import (
    as_given,
    child_environment,
    clean_path,
    find_program,
    relative_entries,
    search_path,
)

ROOT = str(Path(__file__).parent.parent)

#: Run in a directory with hidden.py: starts a child that tries to import it, and prints what came of it.
PARENT = """
import subprocess, sys
from kregistry.python_child import child_command, child_environment
code = "import importlib.util as u, json; print(bool(u.find_spec('hidden')), 'here' in json.__file__, len(sys.argv))"
print(subprocess.check_output(child_command(code, "x"), env=child_environment(), text=True), end="")
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a module, and with one that hides Python's own."""
    directory = tmp_path / "here"
    directory.mkdir()
    (directory / "hidden.py").touch()
    return directory


def found(here: Path, *command: str, pythonpath: str | None = None) -> bool:
    """Whether a child of ``python COMMAND`` finds hidden.py; it must find Python's own json in any case."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if pythonpath is not None:
        environment["PYTHONPATH"] = pythonpath
    done = subprocess.run([sys.executable, *command], cwd=here, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    hidden, json_is_here, arguments = done.stdout.split()
    assert (json_is_here, arguments) == ("False", "2")
    return hidden == "True"


def test_the_current_directory_is_not_searched(here: Path) -> None:
    (here / "json.py").touch()
    (here / "start.py").write_text(PARENT)
    assert not found(here, "-c", PARENT, pythonpath=ROOT)
    assert not found(here, "-m", "start", pythonpath=ROOT)


@pytest.mark.parametrize("pythonpath", [f"{ROOT}:.", f".:{ROOT}", f"{ROOT}:", f"{ROOT}::", f"{ROOT}:../here"])
def test_relative_entries_of_pythonpath_are_not_searched(here: Path, tmp_path: Path, pythonpath: str) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    assert not found(here, str(tmp_path / "parent.py"), pythonpath=pythonpath)


def test_one_interpreter_is_started_for_each_pythonpath(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, started = subprocess.run, []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        started.append(os.environ["PYTHONPATH"])
        return real(command, **options)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(here.parent)
    monkeypatch.syspath_prepend(str(here))
    for value in ("here", "./here", "here"):
        monkeypatch.setenv("PYTHONPATH", f"{value}:{here.parent}")
        assert str(here) not in search_path() and str(here) not in search_path()
    monkeypatch.setenv("PYTHONPATH", f"here:{here}")
    assert str(here) in search_path()
    assert started == [f"here:{here.parent}", f"./here:{here.parent}", f"here:{here}"]


@pytest.mark.parametrize("pythonpath", ["{here}:{root}", "{here}:.:{root}", ".:{root}:{here}"])
def test_what_is_named_by_an_absolute_path_is_searched(here: Path, pythonpath: str) -> None:
    assert found(here, "-c", PARENT, pythonpath=pythonpath.format(here=here, root=ROOT))


def test_the_directory_of_a_script_is_searched(here: Path) -> None:
    (here / "start.py").write_text(PARENT)
    assert found(here, "start.py", pythonpath=ROOT)


def test_a_current_directory_that_is_gone(here: Path) -> None:
    gone = here / "gone"
    gone.mkdir()
    code = f"import os; os.rmdir({str(gone)!r})\n{PARENT}"
    assert not found(gone, "-c", code, pythonpath=ROOT)


def test_the_environment_of_a_child_has_no_relative_entries() -> None:
    def cleaned(value: str) -> str | None:
        return child_environment({"A": "b", "PYTHONPATH": value}).get("PYTHONPATH")

    assert child_environment({"A": "b"}) == {"A": "b"}
    assert [cleaned(value) for value in ("/a", "/a:/b", ".", "/a:", ":/a:x:/b", "")] == [
        "/a",
        "/a:/b",
        None,
        "/a",
        "/a:/b",
        "",
    ]
    assert relative_entries({"PYTHONPATH": ":/a:x"}) == ["", "x"]
    assert relative_entries({"PYTHONPATH": ""}) == relative_entries({}) == []


def test_programs_are_found_only_by_absolute_entries_of_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (tmp_path, tmp_path / "bin"):
        place.mkdir(exist_ok=True)
        (place / "tool").write_text("#!/bin/sh\n")
        (place / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for path in (":/nowhere", ".", "/nowhere:", "", "bin", "./bin:."):
        assert find_program("tool", {"PATH": path}) is None
    assert find_program("tool", {"PATH": f".:{tmp_path}/bin"}) == str(tmp_path / "bin" / "tool")
    assert find_program("./tool", {"PATH": ""}) == "./tool"  # named by the user
    assert child_environment({"PATH": f":/a:b:{tmp_path}:"})["PATH"] == f"/a:{tmp_path}"
    assert child_environment({"PATH": "."})["PATH"] == os.defpath


def test_this_process_keeps_the_absolute_entries_and_a_command_of_the_user_gets_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(python_child, "_given", {})
    monkeypatch.setenv("PATH", "/a:/b")
    clean_path()
    assert (os.environ["PATH"], as_given({"PATH": "/c"})) == ("/a:/b", {"PATH": "/c"})
    monkeypatch.setenv("PATH", ":/a:venv/bin")
    clean_path()
    assert os.environ["PATH"] == "/a"
    assert as_given(os.environ)["PATH"] == ":/a:venv/bin"
