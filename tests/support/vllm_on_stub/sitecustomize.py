"""In each process of a vLLM server on the stub GPU: what a rehearsal replaces in vLLM is replaced here too.

For a directory on PYTHONPATH. A server needs the argument ``--no-async-scheduling``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from kregistry.import_hook import after_import


def _what_vllm_imports(module: ModuleType) -> None:
    from kregistry.rehearsal.patches import apply
    from kregistry.rehearsal.patches.catalogue import before_import

    apply(before_import("vllm"))


def _core(module: ModuleType) -> None:
    from kregistry.rehearsal.patches import apply
    from kregistry.rehearsal.patches.catalogue import PATCHES

    apply(PATCHES["vllm"])
    from vllm.v1.core.sched.scheduler import Scheduler

    scheduler: Any = Scheduler
    own = scheduler.update_from_output

    def update_from_output(self: Any, scheduled: Any, output: Any) -> Any:
        """How many tokens were sampled is read from the device, where it is zero: one is."""
        for index, name in enumerate(output.req_ids):
            request = self.requests[name]
            if request.num_computed_tokens >= request.num_tokens and not output.sampled_token_ids[index]:
                output.sampled_token_ids[index] = [0]
        return own(self, scheduled, output)

    scheduler.update_from_output = update_from_output


after_import("vllm", _what_vllm_imports)
after_import("vllm.v1.engine.core", _core)
