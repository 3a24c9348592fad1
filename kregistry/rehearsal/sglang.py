"""Runs SGLang's own scheduler with dummy weights, and gives it requests that reach what serving reaches."""

from __future__ import annotations

import os
from array import array
from collections.abc import Set
from contextlib import nullcontext
from ctypes import c_size_t
from importlib import metadata
from typing import Any

from attrs import evolve

from kregistry.rehearsal.boundaries import find_boundaries
from kregistry.rehearsal.findings import Facts, Forward
from kregistry.rehearsal.observer import Observer
from kregistry.rehearsal.patches.deep_ep import most_dispatched_tokens
from kregistry.rehearsal.patches.ranks import others_idle
from kregistry.rehearsal.sglang_release import release
from kregistry.stub.recorder import stub_function

#: What a rehearsal adds to the user's arguments.
ARGUMENTS = (
    "--load-format=dummy",
    "--skip-tokenizer-init",
    "--skip-server-warmup",
    "--disable-custom-all-reduce",
    "--disable-overlap-schedule",
    "--disable-flashinfer-autotune",
    "--disable-radix-cache",
    "--sampling-backend=pytorch",
)
#: Environment variables of the process: no warm-up of SGLang's own, which would call every m.
ENVIRONMENT = {
    "FLASHINFER_USE_CUDA_NORM": "1",  # the other form needs cutlass, which need not be installed
    "KREGISTRY_SGLANG": "0",
    "SGLANG_JIT_DEEPGEMM_PRECOMPILE": "0",
}
#: Arguments for a model that does not fit into the device.
IF_IT_DOES_NOT_FIT: tuple[str, ...] = ()
#: Whether a model that does not fit may use more memory from the first allocation on that fails.
OVERFLOWS = True
#: The most requests of a decode step without DeepEP; larger steps follow the same rules.
_MOST_REQUESTS = 512
#: Kernel types that SGLang warms up itself (DeepGemmKernelType in its compile_utils).
_WARMED = (
    "fp8_gemm_nt",
    "fp8_gemm_nt_block32",
    "bf16_gemm_nt",
)


class SglangEngine:
    """SGLang's scheduler of one rank.

    Args:
        arguments: the user's, as of ``sglang.launch_server``.
        observer: is told of each forward.
        rank: number of the rank.
    """

    def __init__(self, arguments: list[str], observer: Observer, rank: int = 0) -> None:
        self._observer = observer
        self._rank = rank
        self._skip = False
        self._forwards = 0
        self._release = release(metadata.version("sglang"))
        graphs = self._release.graphs(self._release.arguments([*arguments, *ARGUMENTS]))
        #: The largest batch of a captured graph; 0: there is none.
        self._captured = max(graphs.bs or [0]) if graphs.backend != "disabled" else 0
        self._args = self._release.arguments([*arguments, *ARGUMENTS, "--disable-cuda-graph"])

    def load(self) -> None:
        """Make the model and its caches, as a server does before its first request."""
        from sglang.srt.layers.deep_gemm_wrapper import compile_utils
        from sglang.srt.runtime_context import get_parallel

        self._scheduler: Any = self._release.scheduler(self._args, self._dp_rank(), self._rank)
        os.environ.pop("KREGISTRY_STUB_OVERFLOW", None)  # what serving asks for has to fit
        fits = stub_function("overflow", c_size_t)() == 0
        self._model: Any = self._scheduler.tp_worker.model_runner.model
        self._observer.models.append(self._model)
        largest = max(compile_utils._BUILTIN_M_LIST, default=0)
        warmed = dict.fromkeys(_WARMED, largest)
        parallel = get_parallel()
        ranks = parallel.tp_size * parallel.pp_size
        running = self._scheduler.max_running_requests
        self._facts = Facts(type(self._model).__name__, ranks, running, self._captured, warmed, fits)
        self._observer.write(self._facts)
        if not self._scheduler.is_generation:
            raise ValueError("a rehearsal generates text, and SGLang serves this model with embeddings as its output")

    def serve(self) -> None:
        """Serve requests of the sizes that traffic has."""
        import torch

        scheduler = self._scheduler
        longest = min(scheduler.max_req_input_len - 1, scheduler.max_total_num_tokens - 256)
        chunk = self._release.chunk(self._args) or longest
        chunk = longest if chunk < 1 else min(chunk, longest)
        last = (longest - 1) // chunk * chunk + 1  # the last chunk of this prompt is one token
        with torch.inference_mode():
            self._own_forward = self._model.forward
            self._model.forward = self._forward
            self._generate([1], new=3)
            if self._args.enable_dp_attention:
                with others_idle():
                    self._generate([1], new=2)
            find_boundaries(self._prefill, [1, chunk // 2, chunk])
            self._generate([last], new=2)
            most = min(scheduler.max_running_requests, self._most_requests(), chunk)
            for requests in sorted({min(most, self._captured or most), most}):
                self._generate([1] * requests, new=3)
        if most_dispatched_tokens() is not None:
            most = min(scheduler.max_running_requests, self._most_requests())
            self._observer.write(evolve(self._facts, most_requests=most))

    def _most_requests(self) -> int:
        """As many as DeepEP dispatches at once, which the ranks of one attention share; without it, a number."""
        tokens = most_dispatched_tokens()
        if tokens is None:
            return _MOST_REQUESTS
        replicas = self._args.dp_size if self._args.enable_dp_attention else 1
        return tokens * max(1, int(self._args.tp_size) // int(replicas))

    def _dp_rank(self) -> int | None:
        """The rank of a replica; ranks of data-parallel attention are not replicas."""
        return 0 if self._args.dp_size > 1 and not self._args.enable_dp_attention else None

    def _prefill(self, length: int) -> Set[object]:
        self._observer.calls()
        self._generate([length], new=1)
        return self._observer.calls()

    def _generate(self, lengths: list[int], new: int) -> None:
        """Serve requests with prompts of these lengths to their end, ``new`` tokens each.

        The second decode step runs as in the capture of a CUDA graph, where SGLang overlaps work on two streams.
        """
        from sglang.srt.model_executor.runner_utils.capture_mode import model_capture_mode

        last_was_decode = False
        scheduler = self._scheduler
        scheduler.flush_cache()  # the pages that a request gives back are read from the device, where all are page 0
        scheduler.process_input_requests([_request(index, length, new) for index, length in enumerate(lengths)])
        before, chunks, done = self._forwards, 0, 0
        while True:
            batch = scheduler.last_batch = self._release.next_batch(scheduler)
            if not batch:
                if self._forwards == before:
                    raise RuntimeError(f"SGLang has not run {len(lengths)} requests of {lengths[0]} tokens")
                return
            self._forwards += 1
            prefill = batch.forward_mode.is_extend()
            tokens = batch.extend_num_tokens if prefill else batch.batch_size()
            chunks, done = chunks + 1, done + tokens
            # The chunks between the third and the last one differ from these in no more than the tokens before them.
            self._skip = prefill and chunks > 3 and done < sum(lengths)
            captured = not prefill and last_was_decode and batch.batch_size() <= self._captured
            last_was_decode = not prefill
            step = "prefill" if prefill else "captured decode" if captured else "decode"
            if not self._skip:
                self._observer.forward(Forward(step, tokens, batch.batch_size()))
            with model_capture_mode() if captured else nullcontext():
                result = scheduler.run_batch(batch)
            scheduler.process_batch_result(batch, result)

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's forward, or the logits alone."""
        if not self._skip:
            return self._own_forward(*args, **kwargs)
        import torch
        from sglang.srt.layers.logits_processor import LogitsProcessorOutput

        return LogitsProcessorOutput(next_token_logits=torch.zeros(1, self._model.config.vocab_size, device="cuda"))


def _request(index: int, length: int, new: int) -> Any:
    from sglang.srt.managers.io_struct import TokenizedGenerateReqInput
    from sglang.srt.sampling.sampling_params import SamplingParams

    parameters = SamplingParams(max_new_tokens=new, ignore_eos=True, temperature=0.0)
    parameters.normalize(None)
    return TokenizedGenerateReqInput(
        rid=f"rehearsal-{index}",
        input_text=None,
        input_ids=array("q", [1]) * length,
        input_embeds=None,
        mm_inputs=None,
        token_type_ids=None,
        sampling_params=parameters,
        return_logprob=False,
        logprob_start_len=-1,
        top_logprobs_num=0,
        token_ids_logprob=None,
        stream=False,
    )


#: What :mod:`kregistry.rehearsal.process` imports first, and what it runs.
MODULE = "sglang.srt.managers.scheduler"
ENGINE = SglangEngine
