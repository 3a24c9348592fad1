"""What SGLang's functions do instead while kregistry is beside it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.integrations.first_calls import FirstCalls
from kregistry.integrations.sglang.call_sites import HC_NUM_SPLITS, KERNEL_TYPES, shapes
from kregistry.manifest import Entry
from kregistry.warm_up import WarmupReport

log = logging.getLogger("kregistry.integrations")

_NOTHING = nullcontext()


class _Engine(EngineWarmup):
    """As SGLang's own warm-up: symmetric memory is collective, and only this rank is here."""

    def __init__(self, compile_utils: Any) -> None:
        super().__init__("sglang")
        self._compile_utils = compile_utils

    def warm(self, entries: Iterable[Entry]) -> WarmupReport:
        saved = self._compile_utils.disable_symmetric_memory_context()
        try:
            return super().warm(entries)
        finally:
            self._compile_utils.restore_symmetric_memory_context(saved)


class WarmupOverride:
    """The hooks of one process. Whatever fails in them, SGLang's own path runs, and the log says so.

    Args:
        compile_utils: SGLang's module of that name.
    """

    def __init__(self, compile_utils: Any) -> None:
        self.compile_utils = compile_utils
        self.engine = _Engine(compile_utils)
        self.first_calls = FirstCalls(self.engine, HC_NUM_SPLITS, self._largest_m, self._warms_up)
        self._own_hook: Callable[..., AbstractContextManager[None]] = compile_utils.deep_gemm_execution_hook
        #: (number of SGLang's kernel type, n, k, groups) of the groups that kregistry has warmed up.
        self._warmed: set[tuple[int, int, int, int]] = set()

    def _largest_m(self) -> int:
        return int(max(self.compile_utils._BUILTIN_M_LIST))

    def _warms_up(self) -> bool:
        """SGLang's switches: no precompilation at all, or on the first rank of a node only."""
        utils = self.compile_utils
        return bool(utils._ENABLE_JIT_DEEPGEMM_PRECOMPILE and utils._DO_COMPILE_ALL)

    # ---- _compile_deep_gemm_one_type_all ---------------------------------------------------------------------

    def compile_one_type(
        self, original: Callable[..., None], kernel_type: Any, n: int, k: int, num_groups: int, m_list: Sequence[int]
    ) -> None:
        """Plan, parallel build and one launch for each kernel, in place of a launch for each m."""
        if kernel_type.name not in KERNEL_TYPES:
            log.info("kregistry has no kernel type for %s: SGLang warms it up", kernel_type.name)
        else:
            try:
                self._warm(kernel_type.name, n, k, num_groups, max(m_list))
            except Exception:
                log.exception("kregistry cannot warm up %s n=%d k=%d: SGLang's own path runs", kernel_type.name, n, k)
            else:
                self._seal(kernel_type, n, k, num_groups)
                return
        with self.engine.warming_up():
            original(kernel_type=kernel_type, n=n, k=k, num_groups=num_groups, m_list=m_list)

    def _warm(self, sglang_type: str, n: int, k: int, num_groups: int, max_m: int) -> None:
        target = self.engine.target
        self.engine.warm(
            self.engine.entry(kernel_type, shape, max_m, sglang_type)
            for kernel_type, shape in shapes(sglang_type, n, k, num_groups, target)
        )

    # ---- deep_gemm_execution_hook ----------------------------------------------------------------------------

    def _seal(self, kernel_type: Any, n: int, k: int, num_groups: int) -> None:
        """From now on the per-call hook of this group is an empty context, made once."""
        self._warmed.add((int(kernel_type), n, k, num_groups))
        self.compile_utils.deep_gemm_execution_hook = self._hook

    def _hook(self, m: int, n: int, k: int, num_groups: int, kernel_type: Any) -> AbstractContextManager[None]:
        # _value_: hashing the member itself would run Python code of enum.
        if (kernel_type._value_, n, k, num_groups) in self._warmed:
            return _NOTHING
        return self._own_hook(m, n, k, num_groups, kernel_type)

    # ---- update_deep_gemm_config -----------------------------------------------------------------------------

    def configured(self, result: None, gpu_id: int) -> None:
        """The manifest that ``KREGISTRY_MANIFEST`` names is warmed up before weights and KV cache take the memory."""
        path = os.environ.get("KREGISTRY_MANIFEST")
        if not path or not self.compile_utils._DO_COMPILE_ALL:
            return
        try:
            self.engine.warm(self.engine.named_entries())
        except Exception:
            log.exception("kregistry cannot warm up %s: SGLang's own path runs", path)
