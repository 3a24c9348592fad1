"""Scripts run by forks of one process that has loaded torch: each alone would take seconds to load it and to end.

A script finds the process as ``python -W ignore SCRIPT`` would make it, but that torch is imported, and that site and
``sitecustomize`` have run with the environment of the first script. It ends without tearing torch down.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn


class Forks:
    """One process that loads torch, and its forks; use it as a context manager.

    Args:
        environment: of the process: what the dynamic loader and torch read when they are loaded.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def __enter__(self) -> Forks:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    def run(
        self,
        script: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        out: Path,
        err: Path,
        cwd: Path | None = None,
    ) -> int:
        """Run a script to its end; what it writes goes to two files, which may be the same. Returns its exit code."""
        job = {
            "script": str(script),
            "arguments": list(arguments),
            "environment": dict(environment),
            "out": str(out),
            "err": str(err),
            "cwd": str(cwd or Path.cwd()),
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())
        except BaseException:  # the time of a test is over: the answer must not be taken for another one's
            self._process.kill()
            self.__exit__()
            self.__enter__()
            raise


def _main() -> None:
    """Load torch, and fork for each line of standard input."""
    import torch  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    os._exit(0)  # an orderly end of torch takes a second


def _run(job: Mapping[str, object]) -> NoReturn:
    nothing = os.open(os.devnull, os.O_RDONLY)
    out, err = (os.open(str(job[name]), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644) for name in ("out", "err"))
    for own, standard in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(own, standard)
        os.close(own)
    os.chdir(str(job["cwd"]))
    os.environ.clear()
    os.environ.update(job["environment"])  # type: ignore[call-overload]
    tempfile.tempdir = None
    script = str(job["script"])
    paths = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:] = [str(Path(script).parent), *dict.fromkeys([*paths, *sys.path[1:]])]
    sys.argv = [script, *job["arguments"]]  # type: ignore[misc]
    sys.modules["__main__"] = main = ModuleType("__main__")
    main.__file__ = script
    code = 0
    try:
        exec(compile(Path(script).read_text(), script, "exec"), vars(main))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _main()
