"""Runs vLLM's own engine core with dummy weights, and gives it requests that reach what serving reaches."""

from __future__ import annotations

import importlib
import time
from collections.abc import Set
from typing import Any

from kregistry.rehearsal.boundaries import find_boundaries
from kregistry.rehearsal.findings import Facts, Forward
from kregistry.rehearsal.observer import Observer

#: What a rehearsal adds to the user's arguments.
ARGUMENTS = (
    "--load-format=dummy",
    "--skip-tokenizer-init",
    "--enforce-eager",
    "--no-enable-prefix-caching",
    "--no-async-scheduling",
    "--distributed-executor-backend=external_launcher",
    "--disable-custom-all-reduce",
)
#: Environment variables of the process: one process, rank 0, without a warm-up of vLLM's own.
ENVIRONMENT = {
    "KREGISTRY_VLLM": "0",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "1",
    "RANK": "0",
    "VLLM_DEEP_GEMM_WARMUP": "skip",
    "VLLM_DISABLE_PYNCCL": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
}
#: Arguments for a model that does not fit into the device.
IF_IT_DOES_NOT_FIT = ("--kv-cache-memory-bytes=17179869184",)
#: Whether such a model may use more memory from the first allocation on that fails.
OVERFLOWS = False
#: vLLM handles the tokens before a chunk in pieces of at most so many (MLA's chunked prefill workspace).
_LONGEST_PREFIX = 65536
#: The most requests of a decode step; larger steps follow the same rules.
_MOST_REQUESTS = 512


class VllmEngine:
    """vLLM's engine core with one worker.

    Args:
        arguments: the user's, as of ``vllm serve``.
        observer: is told of each forward.
    """

    def __init__(self, arguments: list[str], observer: Observer) -> None:
        from vllm.engine.arg_utils import EngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.utils.argparse_utils import FlexibleArgumentParser

        self._observer = observer
        self._watched = False
        parser = _make_arg_parser()(FlexibleArgumentParser(prog="vllm serve"))
        parsed = parser.parse_args([*arguments, *ARGUMENTS])
        if getattr(parsed, "model_tag", None):
            parsed.model = parsed.model_tag
        self._config = EngineArgs.from_cli_args(parsed).create_engine_config(UsageContext.OPENAI_API_SERVER)
        runner = self._config.model_config.runner_type
        if runner != "generate":
            raise ValueError(f"a rehearsal generates text, and vLLM serves this model with the runner {runner!r}")

    def load(self) -> None:
        """Make the model and its caches, as a server does before its first request."""
        from vllm.v1.engine.core import EngineCore
        from vllm.v1.executor.abstract import Executor

        self._core: Any = EngineCore(self._config, Executor.get_class(self._config), log_stats=False)
        worker = self._core.model_executor.driver_worker
        self._runner = getattr(worker, "worker", worker).model_runner
        model = self._runner.get_model()
        self._observer.models.append(model)
        parallel, scheduling = self._config.parallel_config, self._config.scheduler_config
        self._observer.write(Facts(type(model).__name__, parallel.world_size_across_dp, scheduling.max_num_seqs, 0))

    def serve(self) -> None:
        """Serve requests of the sizes that traffic has."""
        chunk = self._config.scheduler_config.max_num_batched_tokens
        longest = self._config.model_config.max_model_len - 8
        self._generate([1], new=2)
        find_boundaries(self._prefill, [1, min(chunk // 2, longest), min(chunk, longest)])
        self._generate([min(longest, _LONGEST_PREFIX + chunk + 2)], new=2)
        self._generate([1] * min(self._config.scheduler_config.max_num_seqs, _MOST_REQUESTS), new=2)

    def _prefill(self, length: int) -> Set[object]:
        self._observer.calls()
        self._generate([length], new=1)
        return self._observer.calls()

    def _generate(self, lengths: list[int], new: int) -> None:
        """Serve requests with prompts of these lengths to their end, ``new`` tokens each."""
        core = self._core
        if not self._watched:
            self._watched = True
            core.model_executor.execute_model = self._execute(core.model_executor.execute_model)
            core.scheduler.update_from_output = self._update(core.scheduler.update_from_output)
        for index, length in enumerate(lengths):
            request, wave = core.preprocess_add_request(_request(index, length, new))
            core.add_request(request, wave)
        while core.scheduler.has_requests():
            core.step_fn()

    def _execute(self, own: Any) -> Any:
        """The executor's function, which tells the observer of each forward."""

        def execute_model(scheduled: Any, *args: Any, **kwargs: Any) -> Any:
            tokens: dict[str, int] = scheduled.num_scheduled_tokens
            decode = not scheduled.scheduled_new_reqs and set(tokens.values()) == {1}
            if tokens:
                total = scheduled.total_num_scheduled_tokens
                self._observer.forward(Forward("decode" if decode else "prefill", total, len(tokens)))
            return own(scheduled, *args, **kwargs)

        return execute_model

    def _update(self, own: Any) -> Any:
        """The scheduler's function. How many tokens were sampled is read from the device, where it is zero: one is."""

        def update_from_output(scheduled: Any, output: Any) -> Any:
            for index, name in enumerate(output.req_ids):
                request = self._core.scheduler.requests[name]
                if request.num_computed_tokens >= request.num_tokens and not output.sampled_token_ids[index]:
                    output.sampled_token_ids[index] = [0]
            return own(scheduled, output)

        return update_from_output


def _make_arg_parser() -> Any:
    """vLLM's function of that name; 0.26 has it in another module."""
    try:
        return importlib.import_module("vllm.entrypoints.common.cli_args").make_arg_parser
    except ImportError:
        return importlib.import_module("vllm.entrypoints.openai.cli_args").make_arg_parser


def _request(index: int, length: int, new: int) -> Any:
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine import EngineCoreRequest

    return EngineCoreRequest(
        request_id=f"rehearsal-{index}",
        prompt_token_ids=[1] * length,
        mm_features=None,
        sampling_params=SamplingParams(max_tokens=new, temperature=0, ignore_eos=True, detokenize=False),
        pooling_params=None,
        arrival_time=time.time(),
        lora_request=None,
        cache_salt=None,
        data_parallel_rank=None,
    )


#: What :mod:`kregistry.rehearsal.process` imports first, and what it runs.
MODULE = "vllm.v1.engine.core"
ENGINE = VllmEngine
