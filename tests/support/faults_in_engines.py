"""One fault after another in kregistry's code inside an engine, on the stub GPU: does the engine go its own way?

The engine is imported once, by the script of that engine. Each fault has a forked process; a line of JSON for each.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bad_machines import MACHINES


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if record.exc_info:
            self.lines.append("Traceback")


def fail(*args: object, **kwargs: object) -> Any:
    raise RuntimeError("on purpose")


def break_it(target: str, home: Path) -> None:
    """Have something of kregistry raise from now on; names that are imported from its module raise too."""
    if target in MACHINES:
        MACHINES[target](home)
    elif target == "logging of kregistry":
        log = logging.getLogger("kregistry.integrations")
        for name in ("info", "warning", "error", "exception"):
            setattr(log, name, fail)
    elif target.startswith("module "):
        sys.modules[target.removeprefix("module ")] = None  # type: ignore[assignment]
    elif target:
        owner, _, name = target.rpartition(".")
        try:
            place: Any = importlib.import_module(owner)
        except ImportError:
            module, _, kind = owner.rpartition(".")
            place = getattr(importlib.import_module(module), kind)
        broken = classmethod(fail) if name in ("default", "create", "register", "shared") else fail
        old = getattr(place, name)
        setattr(place, name, broken)
        for module_ in [each for key, each in sys.modules.items() if key.startswith("kregistry.") and each]:
            if vars(module_).get(name) is old:
                setattr(module_, name, fail)


def try_all(faults: Mapping[str, str], drive: Callable[[Path], None], directory: Path, names: list[str]) -> None:
    """Break one thing after another, and do what the engine does.

    Args:
        faults: name of a fault -> what raises, or a bad machine; see :func:`break_it`.
        drive: what the engine does, in a directory of its own.
        names: faults; none: all of them.
    """
    import torch

    torch.cuda._is_in_bad_fork = lambda: False  # type: ignore[attr-defined]
    for name in names or faults:
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            continue
        records = Records()
        answer: dict[str, Any] = {"fault": name}
        try:
            home = Path(tempfile.mkdtemp(dir=directory))
            logging.getLogger("kregistry").addHandler(records)
            logging.getLogger("kregistry").setLevel(logging.INFO)
            break_it(faults[name], home)
            drive(home)
            for thread in threading.enumerate():  # a server lives on, and they log what the build has said
                if thread.name == "kregistry-ahead":
                    thread.join(120)
        except BaseException:
            answer["error"] = traceback.format_exc()[-5000:]
        answer["log"] = records.lines
        print("FAULT " + json.dumps(answer), flush=True)
        os._exit(0)
