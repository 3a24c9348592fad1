"""The function that kregistry puts in place of vLLM's ``deep_gemm_warmup``."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from kregistry.events import JitEvent
from kregistry.hookspecs import hookimpl
from kregistry.integrations.build_ahead import start_build
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.integrations.first_calls import FirstCalls
from kregistry.integrations.remembered_calls import model_key
from kregistry.integrations.start_folder import StartFolder
from kregistry.integrations.switches import failures_logged
from kregistry.integrations.vllm.call_sites import HC_NUM_SPLITS, layer_calls
from kregistry.integrations.vllm.config_request import engine_name, request_of
from kregistry.integrations.vllm.layer_rules import psum_scales
from kregistry.integrations.vllm.vendored_deep_gemm import use_deep_gemm_of_vllm
from kregistry.manifest import Entry

log = logging.getLogger("kregistry.integrations")


class VllmWarmup(EngineWarmup):
    """Warms up for vLLM."""

    def __init__(self) -> None:
        super().__init__("vllm")

    @contextmanager
    def engine_state(self) -> Iterator[None]:
        """With the DeepGEMM that vLLM uses."""
        use_deep_gemm_of_vllm()
        yield


class VllmOverride:
    """The hooks of one process. If one of them fails, vLLM's own function runs, and the log says why."""

    def __init__(self) -> None:
        self.engine = VllmWarmup()
        self.first_calls = FirstCalls(self.engine, HC_NUM_SPLITS, lambda: self._max_tokens, _warms_up)
        self.first_calls.is_ready = self._is_ready
        self.first_calls.may_launch = lambda: self._measured
        #: Whether vLLM has measured the memory that a forward takes: a launch before would count as the model's.
        self._measured = False
        self._max_tokens = 1
        self._original: Callable[..., Any] | None = None
        self._module: Any = None
        self._begun = False
        #: Whether vLLM has captured its graphs, and serves requests from now on.
        self._ready = False
        self.engine.registry.listen(self)

    def replace(self, module: ModuleType) -> None:
        """Bind our function to the name, in vLLM's module and in the one that has imported it from there."""
        own = module.deep_gemm_warmup
        if own != self.deep_gemm_warmup:
            if self._original is None or module.__name__.endswith(".deep_gemm_warmup"):
                self._original, self._module = own, module
            module.deep_gemm_warmup = self.deep_gemm_warmup  # type: ignore[attr-defined]

    def watch_the_load(self, module: ModuleType) -> None:
        """Have the model's kernels built when vLLM makes the model, where its worker has not begun that already."""
        own = module.initialize_model

        @functools.wraps(own)
        def initialize_model(*args: Any, **kwargs: Any) -> Any:
            with failures_logged("kregistry builds nothing before the first call"):
                self._begin((*args, *kwargs.values()))
            return own(*args, **kwargs)

        module.initialize_model = initialize_model  # type: ignore[attr-defined]

    def _begin(self, arguments: tuple[Any, ...]) -> None:
        config = next((each for each in arguments if hasattr(each, "model_config")), None)
        if self._begun or config is None or not _warms_up():
            return
        self._begun = True  # a draft model comes second
        use_deep_gemm_of_vllm()
        request = request_of(config)
        start, made = StartFolder.shared(self.engine.store, engine_name(config, request))
        if made:
            start.write_request(request)
            start_build(start, {})
            log.info("kregistry: building the kernels of %s while vLLM starts: %s", request.model, start.log)
        self.first_calls.missing.key = model_key(request)
        self.engine.begin(start)

    def watch_the_worker(self, module: ModuleType) -> None:
        """Have the kernels built while a worker makes its CUDA context, and note when it has ended its warm-up.

        A worker that does not say when it has is watched for a number of calls.
        """
        worker = getattr(module, "Worker", None)
        self._watch_the_device(worker)
        own = getattr(worker, "compile_or_warm_up_model", None)
        if own is None:
            log.info("kregistry: this vLLM has no %s.Worker.compile_or_warm_up_model", module.__name__)
            self.first_calls.is_ready = None
            return

        @functools.wraps(own)
        def compile_or_warm_up_model(*args: Any, **kwargs: Any) -> Any:
            result = own(*args, **kwargs)
            with failures_logged("kregistry cannot load what calls outside the manifest have brought"):
                if self._measured:
                    self.engine.load_what_was_built_ahead()
            self._ready = True
            return result

        module.Worker.compile_or_warm_up_model = compile_or_warm_up_model

    def _watch_the_device(self, worker: Any) -> None:
        own = getattr(worker, "init_device", None)
        if own is None:
            return  # the build begins when the model is made

        @functools.wraps(own)
        def init_device(*args: Any, **kwargs: Any) -> Any:
            with failures_logged("kregistry builds nothing before the first call"):
                self._begin(tuple(getattr(each, "vllm_config", None) for each in args[:1]))
            return own(*args, **kwargs)

        worker.init_device = init_device

    def _is_ready(self) -> bool:
        """The worker has ended its warm-up, graphs captured. vLLM starts its own JIT monitor at that time."""
        monitor: Any = sys.modules.get("vllm.utils.jit_monitor")
        return self._ready or (monitor is not None and bool(monitor.is_active()))

    def deep_gemm_warmup(self, *args: Any, **kwargs: Any) -> Any:
        """Plan, parallel build and one launch for each kernel of the layers that vLLM would warm up.

        vLLM warms up the kernels for which kregistry has no kernel type (mega MoE).
        """
        with failures_logged("kregistry cannot warm up DeepGEMM: vLLM's own path runs"):
            self._warm(*args, **kwargs)
            return None
        assert self._original is not None
        with self.engine.warming_up():
            return self._original(*args, **kwargs)

    def _warm(self, model: Any, max_tokens: int, *_: object, **__: object) -> None:
        """Warm up a model; further arguments that a version of vLLM passes are ignored."""
        self._max_tokens = max_tokens
        self._measured = True
        engine = self.engine
        engine.load_what_was_built_ahead()
        named: tuple[Entry, ...] = ()
        with failures_logged("kregistry: KREGISTRY_MANIFEST is not used"):
            named = engine.named_entries()  # first: it may choose providers
        layers = layer_calls(self._module, model, max_tokens, engine.scale_forms, psum_scales())
        entries = [engine.entry(each.kernel_type, each.shape, each.stop, each.label, each.start) for each in layers]
        entries = [entry for entry in (*entries, *named, *self.first_calls.postponed()) if not engine.covers(entry)]
        if entries:
            engine.warm(entries)
            self.first_calls.missing.while_starting(entries)
        with engine.warming_up():
            if engine.target.arch != "sm90":
                # There vLLM varies DeepGEMM's alignment of grouped rows, which makes other kernels.
                self._module.deepgemm_grouped_fp8_gemm_nt_contiguous_warmup(model, max_tokens, None)
            mega_moe = getattr(self._module, "deepgemm_fp8_fp4_mega_moe_warmup", None)  # vLLM 0.26 has none
            if mega_moe is not None:
                mega_moe(model, max_tokens, None)

    @hookimpl
    def kregistry_jit_compiled(self, event: JitEvent) -> None:
        """Report a compile while requests are served to vLLM's own JIT monitor, which counts it."""
        monitor: Any = sys.modules.get("vllm.utils.jit_monitor")
        with failures_logged("vLLM's JIT monitor raises an error for a compile of DeepGEMM"):
            # In vLLM's mode "error" its monitor raises here, which is not the thread that called DeepGEMM: nothing is
            # refused by that. KREGISTRY_JIT_MONITOR=error refuses the compile itself.
            if monitor is not None and monitor.is_active():
                monitor._handle_jit_event(
                    backend="DeepGEMM", event="kernel JIT compilation", fn_name=event.kernel, detail=event.site or None
                )


def _warms_up() -> bool:
    """vLLM's switch."""
    return os.environ.get("VLLM_DEEP_GEMM_WARMUP", "").lower() != "skip"
