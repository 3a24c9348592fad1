"""The process of the engine, on the stub GPU: patches it, loads the model, serves requests, and writes what it finds.

Its standard output and error are the engine's own.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from kregistry.import_hook import after_import
from kregistry.rehearsal.findings import Failure, Replaced, write_line
from kregistry.rehearsal.observer import Observer
from kregistry.rehearsal.patches import PatchError, apply
from kregistry.rehearsal.patches.catalogue import PATCHES, before_import
from kregistry.rehearsal.replaced import COUNTS

#: Files of packages that check values for an engine: the place of an error is the engine's.
_VALIDATOR = re.compile(r"/(pydantic|huggingface_hub)/")
#: What engines say when weights and caches do not fit.
_NO_MEMORY = re.compile(r"(not enough|no available|no GPU|insufficient) memory|KV cache memory", re.IGNORECASE)


def import_engine(engine: str, out: TextIO) -> Callable[[list[str]], Any]:
    """Import an engine with its patches, observed.

    Args:
        engine: ``sglang`` or ``vllm``.
        out: where the observer writes.

    Returns:
        What makes the engine from its arguments.
    """
    observer = _observer(out)
    apply(before_import(engine))
    module = importlib.import_module(f"kregistry.rehearsal.{engine}")
    importlib.import_module(module.MODULE)
    apply(PATCHES[engine])

    def make(arguments: list[str]) -> Any:
        return module.ENGINE(arguments, observer)

    return make


def main(
    engine: str,
    file: str,
    seconds: float,
    arguments: list[str],
    imported: Callable[[str, TextIO], Callable[[list[str]], Any]] = import_engine,
) -> None:
    """Rehearse, and end the process: threads of the engine would keep it. After ``seconds`` it prints where it is.

    ``imported`` gives the engine to a process that has imported it before.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    with Path(file).open("a") as out:
        stage = "patches"
        try:
            make = imported(engine, out)
            stage = "arguments"
            running = make(arguments)
            stage = "load"
            running.load()
            stage = "serve"
            running.serve()
            code = 0
        except BaseException as error:
            if not isinstance(error, SystemExit):  # the parser of the arguments has said why
                traceback.print_exc()
            write_line(out, Failure(_kind(error), stage, _text(error), _place(error)))
            code = 1
        write_line(out, Replaced(dict(COUNTS.most_common())))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _observer(out: TextIO) -> Observer:
    import deep_gemm

    observer = Observer(out)
    observer.observe(deep_gemm)
    after_import("vllm.third_party.deep_gemm", observer.observe)  # the copy that vLLM brings, if it is used
    return observer


def _kind(error: BaseException) -> str:
    if isinstance(error, (PatchError, ImportError)):
        return "patch"
    memory = type(error).__name__ == "OutOfMemoryError" or _NO_MEMORY.search(str(error))
    return "memory" if memory else "engine"


def _text(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return ""
    if isinstance(error, PatchError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    line = frames[-1].line if frames else ""  # of an assertion without a message, what it asserts
    return f"{type(error).__name__}: {str(error) or line}"


def _place(error: BaseException) -> str:
    frames = () if isinstance(error, SystemExit) else traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _VALIDATOR.search(frame.filename)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:])
