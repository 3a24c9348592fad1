"""What SGLang's functions do instead while kregistry is beside it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.integrations.sglang.call_sites import HC_NUM_SPLITS, KERNEL_TYPES, shapes
from kregistry.manifest import load_manifest

log = logging.getLogger("kregistry.integrations")

_NOTHING = nullcontext()


class Takeover:
    """The hooks of one process. Whatever fails in them, SGLang's own path runs, and the log says so.

    Args:
        compile_utils: SGLang's module of that name.
    """

    def __init__(self, compile_utils: Any) -> None:
        self.compile_utils = compile_utils
        self.engine = EngineWarmup("sglang")
        self._own_hook: Callable[..., AbstractContextManager[None]] = compile_utils.deep_gemm_execution_hook
        #: (number of SGLang's kernel type, n, k, groups) of the groups that kregistry has warmed up.
        self._warmed: set[tuple[int, int, int, int]] = set()
        self._hc_warmed: set[tuple[int, int]] = set()

    # ---- _compile_deep_gemm_one_type_all ---------------------------------------------------------------------

    def compile_one_type(
        self, original: Callable[..., None], kernel_type: Any, n: int, k: int, num_groups: int, m_list: Sequence[int]
    ) -> None:
        """Plan, parallel build and one launch for each kernel, in place of a launch for each m."""
        if kernel_type.name not in KERNEL_TYPES:
            log.info("kregistry has no kernel type for %s: SGLang warms it up", kernel_type.name)
            original(kernel_type=kernel_type, n=n, k=k, num_groups=num_groups, m_list=m_list)
            return
        # As in SGLang's own function: symmetric memory is collective, and only this rank is here.
        saved = self.compile_utils.disable_symmetric_memory_context()
        try:
            self._warm(kernel_type.name, n, k, num_groups, max(m_list))
        except Exception:
            log.exception("kregistry cannot warm up %s n=%d k=%d: SGLang's own path runs", kernel_type.name, n, k)
            failed = True
        else:
            failed = False
        finally:
            self.compile_utils.restore_symmetric_memory_context(saved)
        if failed:
            original(kernel_type=kernel_type, n=n, k=k, num_groups=num_groups, m_list=m_list)
            return
        self._seal(kernel_type, n, k, num_groups)

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

    # ---- tf32_hc_prenorm_gemm --------------------------------------------------------------------------------

    def hc_prenorm(
        self, original: Callable[..., None], x: Any, fn: Any, out: Any, sqrsum: Any, num_splits: int | None
    ) -> None:
        """SGLang does not warm this function: its first call warms every num_splits, and takes the hook away."""
        import torch

        utils = self.compile_utils
        if utils._ENABLE_JIT_DEEPGEMM_PRECOMPILE and x.shape[0] and not torch.cuda.is_current_stream_capturing():
            n, k = fn.shape
            if utils._DO_COMPILE_ALL and (n, k) not in self._hc_warmed:
                self._hc_warmed.add((n, k))
                self._warm_hc(n, k)
            _rebind_everywhere(sys.modules[original.__module__], original)
        original(x, fn, out, sqrsum, num_splits)

    def _warm_hc(self, n: int, k: int) -> None:
        name, stop = "tf32_hc_prenorm_gemm", max(self.compile_utils._BUILTIN_M_LIST)
        saved = self.compile_utils.disable_symmetric_memory_context()
        try:
            self.engine.warm(self.engine.entry(name, {"n": n, "k": k, "num_splits": s}, stop) for s in HC_NUM_SPLITS)
        except Exception:
            log.exception("kregistry cannot warm up tf32_hc_prenorm_gemm n=%d k=%d: DeepGEMM compiles on demand", n, k)
        finally:
            self.compile_utils.restore_symmetric_memory_context(saved)

    # ---- update_deep_gemm_config -----------------------------------------------------------------------------

    def configured(self, result: None, gpu_id: int) -> None:
        """The manifest that ``KREGISTRY_MANIFEST`` names is warmed up before weights and KV cache take the memory."""
        path, model = os.environ.get("KREGISTRY_MANIFEST"), os.environ.get("KREGISTRY_MODEL")
        if not path or not self.compile_utils._DO_COMPILE_ALL:
            return
        try:
            manifest = load_manifest(path, self.engine.registry, self.engine.target).select([model] if model else [])
            self.engine.warm(manifest.entries)
        except Exception:
            log.exception("kregistry cannot warm up %s: SGLang's own path runs", path)


def _rebind_everywhere(home: ModuleType, original: Callable[..., None]) -> None:
    """Undo a hook of SGLang's HookRegistry: it has bound its wrapper in every module that had bound the original."""
    name = original.__name__
    wrapper = getattr(home, name)
    if wrapper is original:
        return
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            for attribute, value in list(vars(module).items()):
                if value is wrapper:
                    setattr(module, attribute, original)
