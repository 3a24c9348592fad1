"""In each process of an SGLang server on the stub GPU: what a rehearsal replaces in SGLang is replaced here too.

For a directory on PYTHONPATH. A server needs the arguments ``--disable-cuda-graph``, ``--disable-overlap-schedule``,
``--disable-flashinfer-autotune`` and ``--disable-custom-all-reduce``.
"""

from __future__ import annotations

import sys
from types import ModuleType

from kregistry.import_hook import after_import


def _what_sglang_imports(module: ModuleType) -> None:
    from kregistry.rehearsal.patches import apply
    from kregistry.rehearsal.patches.catalogue import before_import

    apply(before_import("sglang"))


def _scheduler(module: ModuleType) -> None:
    from kregistry.rehearsal.patches import apply
    from kregistry.rehearsal.patches.catalogue import PATCHES

    apply(PATCHES["sglang"])
    for each in list(sys.modules.values()):  # no other rank is there to send it
        if "broadcast_pyobj" in getattr(each, "__dict__", {}):
            each.broadcast_pyobj = lambda data, *_, **__: data  # type: ignore[attr-defined]


after_import("sglang.srt.utils", _what_sglang_imports)
after_import("sglang.srt.managers.scheduler", _scheduler)
