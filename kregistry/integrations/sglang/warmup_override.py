"""The functions that kregistry puts in place of SGLang's, or calls after them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.integrations.first_calls import FirstCalls
from kregistry.integrations.remembered_calls import model_key
from kregistry.integrations.sglang.call_sites import (
    HC_NUM_SPLITS,
    KERNEL_TYPES,
    WarmupGroup,
    execution_key,
    read_compile,
)
from kregistry.integrations.sglang.launching import begin_build
from kregistry.integrations.start_folder import StartFolder
from kregistry.integrations.switches import failures_logged

log = logging.getLogger("kregistry.integrations")

_NOTHING = nullcontext()


class SglangWarmup(EngineWarmup):
    """Warms up for SGLang."""

    def __init__(self, compile_utils: Any) -> None:
        super().__init__("sglang")
        self._compile_utils = compile_utils

    @contextmanager
    def engine_state(self) -> Iterator[None]:
        """Without symmetric memory, as SGLang's own warm-up: it is collective, and only this rank is here."""
        saved = self._compile_utils.disable_symmetric_memory_context()
        try:
            yield
        finally:
            self._compile_utils.restore_symmetric_memory_context(saved)


class SglangOverride:
    """The hooks of one process. If one of them fails, SGLang's own function runs, and the log says why.

    Versions of SGLang pass different arguments (0.5.15 passes ``server_args`` to ``update_deep_gemm_config``), so every
    hook takes any arguments, reads those that it needs, and passes on all of them.

    Args:
        compile_utils: SGLang's module of that name.
    """

    def __init__(self, compile_utils: Any) -> None:
        self.compile_utils = compile_utils
        self.engine = SglangWarmup(compile_utils)
        self.first_calls = FirstCalls(self.engine, HC_NUM_SPLITS, self._largest_m, self._warms_up)
        self._own_hook: Callable[..., AbstractContextManager[None]] = compile_utils.deep_gemm_execution_hook
        #: Keys of the groups that kregistry has warmed up.
        self._warmed: set[tuple[int, int, int, int]] = set()

    def _largest_m(self) -> int:
        return int(max(self.compile_utils._BUILTIN_M_LIST))

    def _warms_up(self) -> bool:
        """SGLang's switch. Its own warm-up runs on the first rank of a node only; every rank has to load its kernels,
        and claims let ranks share what is to be built.
        """
        return bool(self.compile_utils._ENABLE_JIT_DEEPGEMM_PRECOMPILE)

    # ---- _compile_deep_gemm_one_type_all ---------------------------------------------------------------------

    def compile_one_type(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Plan, parallel build and one launch for each kernel, in place of a launch for each m."""
        if self._warm_instead(args, kwargs):
            return None
        with self.engine.warming_up():
            return original(*args, **kwargs)

    def _warm_instead(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether kregistry has warmed up the group of a call."""
        with failures_logged("kregistry cannot read what SGLang warms up: SGLang's own path runs"):
            group, max_m = read_compile(*args, **kwargs)
            if group.kernel_type.name not in KERNEL_TYPES:
                log.info("kregistry has no kernel type for %s: SGLang warms it up", group.kernel_type.name)
                return False
            with failures_logged(f"kregistry cannot warm up {group}: SGLang's own path runs"):
                self._warm(group, max_m)
                return True
        return False

    def _warm(self, group: WarmupGroup, max_m: int) -> None:
        first_calls = self.first_calls
        if self.engine.builds_ahead and first_calls.watches:
            # The call itself follows: it is watched, and waits for its own kernel only.
            self._never_again(group)
            return
        if not first_calls.live:
            self.engine.load_what_was_built_ahead()
        entries = [
            self.engine.entry(kernel_type, shape, max_m, group.kernel_type.name)
            for kernel_type, shape in group.shapes(self.engine.scale_forms)
        ]
        missing = [entry for entry in entries if not self.engine.covers(entry)]
        if missing and first_calls.live:
            first_calls.missing.in_live_traffic(missing, missing[0].range.start)
        elif missing and not first_calls.builds_elsewhere:  # else the call itself follows, as above
            self.engine.warm(missing)
            first_calls.missing.while_starting(missing)
        self._never_again(group)

    def _never_again(self, group: WarmupGroup) -> None:
        self._warmed.add(group.key)
        # From now on the hook that SGLang calls for every GEMM of this group is an empty context, made once.
        self.compile_utils.deep_gemm_execution_hook = self._hook

    # ---- deep_gemm_execution_hook ----------------------------------------------------------------------------

    def _hook(self, *args: Any, **kwargs: Any) -> AbstractContextManager[None]:
        try:
            warmed = execution_key(*args, **kwargs) in self._warmed
        except Exception:  # a call of another form: SGLang's own hook knows it
            warmed = False
        return _NOTHING if warmed else self._own_hook(*args, **kwargs)

    # ---- update_deep_gemm_config -----------------------------------------------------------------------------

    def configured(self, result: Any, *args: Any, **kwargs: Any) -> None:
        """Every rank reads what the launching process has had built; nothing is loaded before the weights are.

        Where the launch went another way (``Engine`` in a process of a framework), the first rank has it built now.
        """
        with failures_logged("kregistry builds nothing before the first call"):
            if not self._warms_up():
                return
            start = StartFolder.of_environment()
            if start is None and self.compile_utils._DO_COMPILE_ALL:
                start = begin_build((*args, *kwargs.values()))
            if start is None:
                return
            self.first_calls.is_ready = start.is_ready
            request = start.read_request()
            if request is not None:
                self.first_calls.missing.key = model_key(request)
            self.engine.begin(start)
