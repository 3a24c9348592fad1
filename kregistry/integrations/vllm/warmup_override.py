"""What vLLM's ``deep_gemm_warmup`` does instead while kregistry is beside it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from kregistry.events import JitEvent
from kregistry.hookspecs import hookimpl
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.integrations.first_calls import FirstCalls
from kregistry.manifest import Entry
from kregistry.warm_up import WarmupReport

log = logging.getLogger("kregistry.integrations")


#: How vLLM 0.33.0 derives num_splits of ``tf32_hc_prenorm_gemm`` from the number of tokens.
_RULES = ("vllm-buckets",)


class _Engine(EngineWarmup):
    """Warms up the DeepGEMM that vLLM uses."""

    def __init__(self) -> None:
        super().__init__("vllm")

    def warm(self, entries: Iterable[Entry]) -> WarmupReport:
        use_deep_gemm_of_vllm()
        return super().warm(entries)


class WarmupOverride:
    """The hooks of one process. Whatever fails in them, vLLM's own path runs, and the log says so."""

    def __init__(self) -> None:
        self.engine = _Engine()
        self.first_calls = FirstCalls(self.engine, _RULES, lambda: self._max_tokens, _warms_up)
        self._max_tokens = 1
        self._original: Callable[[Any, int], None] | None = None
        self._module: Any = None
        self.engine.registry.listen(self)

    def replace(self, module: ModuleType) -> None:
        """Bind our function to the name, in vLLM's module and in the one that has imported it from there."""
        own = module.deep_gemm_warmup
        if own != self.deep_gemm_warmup:
            if module.__name__.endswith(".deep_gemm_warmup"):
                self._original, self._module = own, module
            module.deep_gemm_warmup = self.deep_gemm_warmup  # type: ignore[attr-defined]

    def deep_gemm_warmup(self, model: Any, max_tokens: int) -> None:
        """Plan, parallel build and one launch for each kernel of the layers that vLLM would warm up.

        What kregistry has no kernel type for (mega MoE) is left to vLLM.
        """
        self._max_tokens = max_tokens
        try:
            named = self.engine.named_entries()  # first: it may choose providers
            entries = [*self._dense(model, max_tokens), *self._grouped(model, max_tokens), *named]
            if entries:
                self.engine.warm(entries)
        except Exception:
            log.exception("kregistry cannot warm up DeepGEMM: vLLM's own path runs")
            assert self._original is not None
            with self.engine.warming_up():
                self._original(model, max_tokens)
            return
        with self.engine.warming_up():
            if self.engine.target.arch != "sm90":
                # There vLLM varies DeepGEMM's alignment of grouped rows, which makes other kernels.
                self._module.deepgemm_grouped_fp8_gemm_nt_contiguous_warmup(model, max_tokens, None)
            self._module.deepgemm_fp8_fp4_mega_moe_warmup(model, max_tokens, None)

    # ---- the layers, found by vLLM's own functions -----------------------------------------------------------

    def _dense(self, model: Any, max_tokens: int) -> Iterator[Entry]:
        seen = set()
        for layer in model.modules():
            data = self._module._deep_gemm_linear_data(layer)
            if data is not None and tuple(data[0].shape) not in seen:
                n, k = data[0].shape
                seen.add((n, k))
                for scales in self._scales():
                    yield self.engine.entry("fp8_gemm_nt", {"n": n, "k": k, "scales": scales}, max_tokens, "linear")

    def _grouped(self, model: Any, max_tokens: int) -> Iterator[Entry]:
        seen = set()
        for layer in model.modules():
            if not self._module._fused_moe_grouped_gemm_may_use_deep_gemm(layer):
                continue
            w13, _, w2, _, top_k = self._module._extract_data_from_fused_moe_module(layer)
            stop, _, _ = self._module._get_grouped_gemm_params(w13, w2, top_k, max_tokens)
            for groups, n, k in (tuple(w13.shape), tuple(w2.shape)):
                if stop and (groups, n, k) not in seen:
                    seen.add((groups, n, k))
                    for scales in self._scales():
                        shape = {"num_groups": groups, "n": n, "k": k, "scales": scales}
                        yield self.engine.entry("m_grouped_fp8_gemm_nt_contiguous", shape, stop, "experts")

    def _scales(self) -> tuple[str, ...]:
        """On Blackwell both forms: vLLM packs scale factors in its layers, not in its own warm-up."""
        return ("f32",) if self.engine.target.arch == "sm90" else ("ue8m0", "f32")

    # ---- vLLM's own JIT monitor ------------------------------------------------------------------------------

    @hookimpl
    def kregistry_jit_compiled(self, event: JitEvent) -> None:
        """A compile while requests are served is told to vLLM's monitor, which counts it among its own."""
        monitor: Any = sys.modules.get("vllm.utils.jit_monitor")
        if monitor is not None and monitor.is_active():
            try:
                monitor._handle_jit_event(
                    backend="DeepGEMM", event="kernel JIT compilation", fn_name=event.kernel, detail=event.site or None
                )
            except RuntimeError as error:
                # vLLM's mode error raises where the event is told, which here is not the thread that called:
                # KREGISTRY_JIT_MONITOR=error refuses the compile itself.
                log.error("%s", error)


def _warms_up() -> bool:
    """vLLM's switch."""
    return os.environ.get("VLLM_DEEP_GEMM_WARMUP", "").lower() != "skip"


def use_deep_gemm_of_vllm() -> None:
    """Make the DeepGEMM that vLLM uses importable as ``deep_gemm``.

    vLLM prefers an installed one. The copy in its wheel is then found under the plain name as well, by this process,
    vLLM itself included, and by the planning processes, so that there is one copy in use.
    """
    import importlib.util

    import vllm.utils.deep_gemm

    if importlib.util.find_spec("deep_gemm") is None:
        _use_vendored()
    vllm.utils.deep_gemm._lazy_init()  # it names the JIT cache directory, if nobody has


def _use_vendored() -> None:
    vendored = sys.modules.get("vllm.third_party.deep_gemm")
    if vendored is not None:
        sys.modules["deep_gemm"] = vendored
    import vllm.third_party

    place = str(Path(vllm.third_party.__path__[0]))
    if place not in sys.path:
        sys.path.append(place)
