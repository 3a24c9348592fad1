"""The command line, run in this process so that a test can inject faults."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest
from attrs import frozen


@frozen
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_command_line(monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]) -> Result:
    """Call the entry point of the console script."""
    from kregistry.cli import main

    monkeypatch.setattr(sys, "argv", ["kregistry", *arguments])
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    return Result(code, out.getvalue(), err.getvalue())
