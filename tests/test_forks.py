"""A script that a fork runs finds what a process of its own would find."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import on_stub
import pytest

SCRIPT = """
import atexit, json, os, sys, threading, time
assert __name__ == "__main__" and sys.modules["__main__"].__dict__ is globals()
found = {"file": __file__, "argv": sys.argv, "first": sys.path[0], "given": "/given" in sys.path, "cwd": os.getcwd()}
found |= {"variables": [os.environ.get("GIVEN"), os.getenv("PATH")], "stdin": sys.stdin.read()}
found |= {"torch": "torch" in sys.modules}
print(json.dumps(found))
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
print("said", file=sys.stderr)
"""


def test_it_is_the_main_module_of_a_process(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    done = on_stub.run_file(file, {"GIVEN": "1", "PYTHONPATH": "/given"}, "one", "two words")
    said, *rest = done.stdout.splitlines()
    assert json.loads(said) == {
        "file": str(file),
        "argv": [str(file), "one", "two words"],
        "first": str(tmp_path),
        "given": True,
        "cwd": str(Path.cwd()),
        "variables": ["1", None],
        "stdin": "",
        "torch": True,
    }
    assert (rest, done.stderr, done.returncode) == (["thread", "at exit"], "said\n", 0)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("import sys; sys.exit(7)", 7, ""),
        ("raise ValueError('wrong')", 1, "ValueError: wrong"),
        ("import os; os.abort()", -signal.SIGABRT, ""),
    ],
)
def test_its_end_is_that_of_the_script(tmp_path: Path, line: str, code: int, said: str) -> None:
    file = tmp_path / "script.py"
    file.write_text(line)
    done = on_stub.run_file(file, os.environ)
    assert done.returncode == code and said in done.stderr
