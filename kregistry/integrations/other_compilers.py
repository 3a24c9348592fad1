"""Compiles of Triton, FlashInfer and TileLang in live traffic, so that an operator sees whose a wait was.

Triton has a hook for it; FlashInfer and TileLang log it. CuTe DSL offers neither. They are counted, and in the modes
``warn`` and ``error`` of the JIT monitor logged; nothing is blocked.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

from kregistry.import_hook import after_import

log = logging.getLogger("kregistry.integrations")

_FLASHINFER = re.compile(r"Building JIT module (\S+);")
_TILELANG = re.compile(r"begins to compile kernel `?([^`\s]+)")


class OtherCompilers:
    """Watches the other JIT compilers of this process.

    Args:
        ready: whether requests are served; compiles before that are part of the start.
        warns: whether a compile is logged.

    Attributes:
        counts: compiles in live traffic, by compiler.
    """

    def __init__(self, ready: Callable[[], bool], *, warns: bool) -> None:
        self.counts: Counter[str] = Counter()
        self._ready = ready
        self._warns = warns

    def watch(self) -> None:
        """Watch each compiler once it is imported; none is imported here."""
        after_import("triton.knobs", self._watch_triton)
        after_import("flashinfer.jit.core", self._watch_flashinfer)
        logging.getLogger("tilelang").addHandler(_Lines("TileLang", _TILELANG, self._compiled))

    def _watch_triton(self, knobs: ModuleType) -> None:
        runtime: Any = knobs.runtime
        before, after = runtime.jit_cache_hook, runtime.jit_post_compile_hook
        began: list[float] = []

        def begins(*args: Any, **kwargs: Any) -> Any:
            began[:] = [time.monotonic()]
            return before(*args, **kwargs) if before is not None else None

        def ends(*args: Any, **kwargs: Any) -> Any:
            seconds = time.monotonic() - began.pop() if began else None
            self._compiled("Triton", getattr(kwargs.get("fn"), "name", "a kernel"), seconds)
            return after(*args, **kwargs) if after is not None else None

        runtime.jit_cache_hook, runtime.jit_post_compile_hook = begins, ends

    def _watch_flashinfer(self, core: ModuleType) -> None:
        core.logger.addHandler(_Lines("FlashInfer", _FLASHINFER, self._compiled))  # it is in no logging hierarchy

    def _compiled(self, compiler: str, kernel: str, seconds: float | None = None) -> None:
        """Never raises: this runs inside the other compiler."""
        try:
            if self._ready():
                self.counts[compiler] += 1
                if self._warns:
                    took = "is compiling" if seconds is None else f"compiled in {seconds:.2f} s:"
                    log.warning(
                        "kregistry: %s %s %s while requests are served; it is no kernel of DeepGEMM's",
                        compiler,
                        took,
                        kernel,
                    )
        except Exception:
            log.debug("kregistry: a compile of %s is not counted", compiler, exc_info=True)


class _Lines(logging.Handler):
    """Finds kernels in the lines of a compiler's log."""

    def __init__(self, compiler: str, pattern: re.Pattern[str], found: Callable[[str, str], None]) -> None:
        super().__init__(logging.INFO)
        self._compiler = compiler
        self._pattern = pattern
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        match = self._pattern.search(record.getMessage())
        if match:
            self._found(self._compiler, match[1])
