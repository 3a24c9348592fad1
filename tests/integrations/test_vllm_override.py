"""The hook for vLLM, with a stand-in for its modules: what is warmed up, and what happens if that fails."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from engine_on_stub import need

from kregistry import get_target
from kregistry.hf_config.deployment import Deployment
from kregistry.integrations.start_folder import StartFolder
from kregistry.integrations.vllm import warmup_override
from kregistry.integrations.vllm.config_request import engine_name, request_of
from kregistry.integrations.vllm.warmup_override import VllmOverride
from kregistry.jit_monitor import JitEvent, JitOutcome
from kregistry.manifest import Entry, Manifest
from kregistry.store import Store


class Model:
    """A torch module as far as vLLM's warm-up looks at it: two equal linear layers, one layer of experts."""

    def modules(self) -> Iterator[str]:
        return iter(["linear", "experts", "linear", "norm"])


def tensor(*shape: int) -> SimpleNamespace:
    return SimpleNamespace(shape=shape)


class Warmup(ModuleType):
    """vLLM's module ``deep_gemm_warmup``; ``calls`` are those of its own functions."""

    def __init__(self) -> None:
        super().__init__("vllm.model_executor.warmup.deep_gemm_warmup")
        self.calls: list[str] = []
        self.deep_gemm_warmup = self._own

    def _own(self, *args: object, **kwargs: object) -> str:
        self.calls.append("own")
        return f"vLLM's own {args[1:]} {kwargs}"

    def _deep_gemm_linear_data(self, layer: str) -> Any:
        return (tensor(512, 1024), None) if layer == "linear" else None

    def _fused_moe_grouped_gemm_may_use_deep_gemm(self, layer: str) -> bool:
        return layer == "experts"

    def _extract_data_from_fused_moe_module(self, layer: str) -> Any:
        return tensor(4, 256, 512), None, tensor(4, 512, 128), None, 2

    def _get_grouped_gemm_params(self, w13: Any, w2: Any, top_k: int, max_tokens: int) -> Any:
        return 1024, None, None

    def deepgemm_grouped_fp8_gemm_nt_contiguous_warmup(self, *args: object) -> None:
        self.calls.append("grouped")

    def deepgemm_fp8_fp4_mega_moe_warmup(self, *args: object) -> None:
        self.calls.append("mega moe")


@pytest.fixture
def warmup() -> Warmup:
    return Warmup()


@pytest.fixture
def warmed() -> list[str]:
    return []


@pytest.fixture
def override(warmup: Warmup, warmed: list[str], monkeypatch: pytest.MonkeyPatch) -> VllmOverride:
    made = VllmOverride()

    def warm(entries: Iterable[Entry]) -> None:
        warmed.extend(f"{each.shape.kernel_type} {each.shape} {each.range}" for each in entries)

    made.engine._target = get_target("h100")
    monkeypatch.setattr(made.engine, "warm", warm)
    made.replace(warmup)
    return made


def test_every_call_site_is_warmed_up_once_whatever_else_is_passed(
    override: VllmOverride, warmup: Warmup, warmed: list[str]
) -> None:
    assert warmup.deep_gemm_warmup(Model(), 64) is None
    assert [each.split()[0] for each in warmed] == ["fp8_gemm_nt", *["m_grouped_fp8_gemm_nt_contiguous"] * 2]
    assert warmed[0].endswith("m 1..64") and "m 128..1024" in warmed[1]
    assert warmup.deep_gemm_warmup(model=Model(), max_tokens=64, vllm_config=object()) is None
    assert len(warmed) == 6 and warmup.calls == ["mega moe", "mega moe"]


def test_on_blackwell_both_forms_of_scale_factors_and_vllms_own_grouped_warm_up(
    override: VllmOverride, warmup: Warmup, warmed: list[str]
) -> None:
    override.engine._target = get_target("b200")
    warmup.deep_gemm_warmup(Model(), 64)
    assert len(warmed) == 6 and warmup.calls == ["grouped", "mega moe"]


@pytest.mark.parametrize("missing", ["_deep_gemm_linear_data", "_get_grouped_gemm_params"])
def test_a_vllm_without_a_function_runs_its_own_path(
    override: VllmOverride,
    warmup: Warmup,
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delattr(Warmup, missing)
    assert warmup.deep_gemm_warmup(Model(), 64, more=1) == "vLLM's own (64,) {'more': 1}"
    assert warmup.calls == ["own"]
    assert "kregistry cannot warm up DeepGEMM: vLLM's own path runs" in caplog.text


def test_a_manifest_that_is_not_there_leaves_our_warm_up(
    override: VllmOverride,
    warmup: Warmup,
    warmed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("KREGISTRY_MANIFEST", "/no/kernels.yaml")
    assert warmup.deep_gemm_warmup(Model(), 64) is None
    assert len(warmed) == 3 and "own" not in warmup.calls
    assert "KREGISTRY_MANIFEST is not used: /no/kernels.yaml" in caplog.text and "Traceback" not in caplog.text


def test_vllm_0_26_has_other_names(
    override: VllmOverride, warmup: Warmup, warmed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two functions in place of ``_deep_gemm_linear_data``, and no warm-up of mega MoE."""
    monkeypatch.delattr(Warmup, "_deep_gemm_linear_data")
    monkeypatch.delattr(Warmup, "deepgemm_fp8_fp4_mega_moe_warmup")
    monkeypatch.setattr(warmup, "_fp8_linear_may_use_deep_gemm", lambda layer: layer == "linear", raising=False)
    data = (tensor(512, 1024), None, [128, 128])
    monkeypatch.setattr(warmup, "_extract_data_from_linear_base_module", lambda layer: data, raising=False)
    assert warmup.deep_gemm_warmup(Model(), 64) is None
    assert len(warmed) == 3 and "n=512 k=1024" in warmed[0] and warmup.calls == []


class Layer(SimpleNamespace):
    """A linear layer; its kernel has a fallback if it is vLLM's dynamic one."""


@pytest.mark.parametrize("holder", ["quant_method", "scheme"])
def test_rows_that_vllm_passes_to_flashinfer_are_left_out(
    override: VllmOverride, warmup: Warmup, warmed: list[str], monkeypatch: pytest.MonkeyPatch, holder: str
) -> None:
    dynamic = Layer(**{holder: SimpleNamespace(fp8_linear=SimpleNamespace(fallback=object()))})
    plain = Layer(**{holder: SimpleNamespace(fp8_linear=object())})
    monkeypatch.setattr(warmup, "_deep_gemm_linear_data", lambda layer: (tensor(512, 1024), None), raising=False)
    monkeypatch.setattr(warmup, "_fused_moe_grouped_gemm_may_use_deep_gemm", lambda layer: False, raising=False)
    model = SimpleNamespace(modules=lambda: iter([dynamic, dynamic, plain]))
    warmup.deep_gemm_warmup(model, 64)
    assert [each.rpartition(" m ")[2] for each in warmed] == ["32..64", "1..64"]
    warmed.clear()
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "1")
    warmup.deep_gemm_warmup(SimpleNamespace(modules=lambda: iter([dynamic])), 48)
    assert [each.rpartition(" m ")[2] for each in warmed] == ["1..48"]


def test_a_worker_is_ready_when_its_warm_up_has_ended(override: VllmOverride) -> None:
    """Also where vLLM starts no JIT monitor: 0.20 has none, and 0.33 starts none with --enforce-eager."""
    module = ModuleType("vllm.v1.worker.gpu_worker")
    seen: list[bool] = []

    class Worker:
        def compile_or_warm_up_model(self, *args: Any) -> tuple[Any, ...]:
            seen.append(override.first_calls.live)
            return args

    module.Worker = Worker  # type: ignore[attr-defined]
    override.watch_the_worker(module)
    assert Worker().compile_or_warm_up_model(1) == (1,)
    assert seen == [False] and override.first_calls.live
    override.watch_the_worker(ModuleType("another"))
    assert override.first_calls.is_ready is None


def test_what_calls_outside_the_manifest_have_brought_is_loaded_before_a_worker_is_ready(
    override: VllmOverride, warmup: Warmup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But nothing where vLLM has not warmed up DeepGEMM: its models do not use it."""
    seen: list[bool] = []
    monkeypatch.setattr(override.engine, "load_what_was_built_ahead", lambda: seen.append(override._ready))
    module = ModuleType("vllm.v1.worker.gpu_worker")
    worker = type("Worker", (), {"compile_or_warm_up_model": lambda self: None})
    module.Worker = worker  # type: ignore[attr-defined]
    override.watch_the_worker(module)
    worker().compile_or_warm_up_model()  # type: ignore[attr-defined]
    assert seen == []
    override._ready = False
    warmup.deep_gemm_warmup(Model(), 64)
    worker().compile_or_warm_up_model()  # type: ignore[attr-defined]
    assert seen == [False, False] and override._ready


def config(path: Path, **parallel: Any) -> SimpleNamespace:
    usual = {"tensor_parallel_size": 2, "data_parallel_size": 1, "enable_expert_parallel": False}
    return SimpleNamespace(
        model_config=SimpleNamespace(model=str(path), hf_overrides={"num_hidden_layers": 4}),
        parallel_config=SimpleNamespace(**{**usual, **parallel}),
        scheduler_config=SimpleNamespace(max_num_batched_tokens=4096),
        kernel_config=SimpleNamespace(moe_backend="deep_gemm"),
    )


def test_the_configuration_of_vllm_becomes_the_options_of_init(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["A"], "num_hidden_layers": 61}')
    request = request_of(config(tmp_path))
    assert request.deployment == {"tp": 2, "dp": 1, "max_batched_tokens": 4096, "moe_runner": "deep_gemm"}
    assert request.config == {"architectures": ["A"], "num_hidden_layers": 4}
    wide = request_of(config(tmp_path, data_parallel_size=4, enable_expert_parallel=True, all2all_backend="pplx"))
    assert wide.deployment["ep"] == 8 and wide.deployment["a2a"] == "pplx"


def test_what_decides_kernels_is_there(tmp_path: Path) -> None:
    """Stages, context parallel ranks, the load balancer, dual-batch overlap, speculation, requests of a step."""
    (tmp_path / "config.json").write_text("{}")
    given = config(
        tmp_path,
        enable_expert_parallel=True,
        all2all_backend="deepep_low_latency",
        pipeline_parallel_size=2,
        prefill_context_parallel_size=2,
        enable_eplb=True,
        eplb_config=SimpleNamespace(num_redundant_experts=16),
        enable_dbo=True,
    )
    given.scheduler_config.max_num_seqs = 64
    given.speculative_config = SimpleNamespace(num_speculative_tokens=3)
    options = request_of(given).deployment
    assert options == {
        "tp": 2,
        "dp": 1,
        "cp": 2,
        "ep": 4,
        "pp": 2,
        "a2a": "deepep_low_latency",
        "moe_runner": "deep_gemm",
        "max_batched_tokens": 4096,
        "eplb": True,
        "redundant_experts": 16,
        "two_batch_overlap": True,
        "max_requests": 64,
        "speculative_tokens": 3,
    }
    Deployment("vllm", get_target("h100"), **options)


@pytest.mark.engines
def test_the_installed_vllm_has_these_options() -> None:
    need("vllm")
    [place] = importlib.util.find_spec("vllm").submodule_search_locations or []  # type: ignore[union-attr]
    parallel = "prefill_context_parallel_size pipeline_parallel_size enable_eplb eplb_config num_redundant_experts"
    names = {
        "parallel": [*parallel.split(), "enable_dbo", "all2all_backend", "enable_expert_parallel"],
        "scheduler": ["max_num_seqs", "max_num_batched_tokens"],
        "speculative": ["num_speculative_tokens"],
    }
    texts = {file: (Path(place) / f"config/{file}.py").read_text() for file in names}
    missing = [name for file, each in names.items() for name in each if f"\n    {name}: " not in texts[file]]
    assert missing == []


def test_calls_while_the_memory_is_measured_are_warmed_up_with_the_layers(
    override: VllmOverride, warmup: Warmup, warmed: list[str]
) -> None:
    """vLLM makes them in its profile run: experts of vLLM 0.33 with a layout that its own warm-up does not use."""
    known, shape = override.engine.registry["fp8_gemm_nt"], {"n": 768, "k": 1024}
    override.first_calls._first_call(known, shape, 48, live=False)
    override.first_calls._first_call(known, {**shape, "n": 512, "scales": "f32"}, 48, live=False)
    override.engine.coverage.add(
        Manifest("m", get_target("h100"), (), (override.engine.entry("fp8_gemm_nt", shape, 64),), {})
    )
    assert warmed == []
    warmup.deep_gemm_warmup(SimpleNamespace(modules=list), 64)
    assert len(warmed) == 1 and "n=512 k=1024" in warmed[0] and warmed[0].endswith("m 1..64")
    warmup.deep_gemm_warmup(SimpleNamespace(modules=list), 64)
    assert len(warmed) == 1


@pytest.mark.parametrize("psum", [True, False])
def test_the_layout_of_experts_is_that_of_the_installed_vllm(
    override: VllmOverride, warmup: Warmup, warmed: list[str], monkeypatch: pytest.MonkeyPatch, psum: bool
) -> None:
    monkeypatch.setattr(warmup_override, "psum_scales", lambda: ("f32",) if psum else ())
    warmup.deep_gemm_warmup(Model(), 64)
    assert ["use_psum_layout=True" in each for each in warmed] == [False, psum, psum]


@pytest.mark.parametrize("worker", [True, False])
def test_the_build_starts_before_the_model_is_made_and_once(
    override: VllmOverride, worker: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the worker makes its CUDA context, where there is a worker as expected."""
    done: list[str] = []
    monkeypatch.delenv("VLLM_DEEP_GEMM_WARMUP", raising=False)
    monkeypatch.setattr(override.engine, "store", Store(tmp_path / "store"))
    monkeypatch.setattr(override.engine, "begin", lambda start: done.append("read"))
    monkeypatch.setattr(warmup_override, "start_build", lambda start, environment: done.append("built"))
    monkeypatch.setattr(warmup_override, "use_deep_gemm_of_vllm", lambda: None)
    loader = ModuleType("vllm.model_executor.model_loader.base_loader")
    loader.initialize_model = lambda **kwargs: done.append("made")  # type: ignore[attr-defined]
    override.watch_the_load(loader)
    (tmp_path / "config.json").write_text('{"architectures": ["A"]}')
    if worker:
        workers = ModuleType("vllm.v1.worker.gpu_worker")
        vars(workers)["Worker"] = type("Worker", (), {"init_device": lambda self: done.append("device")})
        override.watch_the_worker(workers)
        made = workers.Worker()
        made.init_device()  # a worker without a configuration
        made.vllm_config = config(tmp_path)
        made.init_device()
    for _ in range(2):
        loader.initialize_model(vllm_config=config(tmp_path), model_config=None)
    assert done == [*(["device"] if worker else []), "built", "read", *(["device"] if worker else []), "made", "made"]
    name = engine_name(config(tmp_path), request_of(config(tmp_path)))
    assert StartFolder.shared(Store(tmp_path / "store"), name)[1] is False  # another rank of the same engine reads it


def test_engines_of_one_parent_process_do_not_share_a_folder(tmp_path: Path) -> None:
    """A shell or a supervisor starts one after another: of another model, or the same once more."""
    (tmp_path / "config.json").write_text('{"architectures": ["A"]}')
    one, other = config(tmp_path), config(tmp_path, data_parallel_size=4)
    names = [engine_name(each, request_of(each)) for each in (one, one, other)]
    assert names[0] == names[1] != names[2]
    again = [engine_name(SimpleNamespace(**vars(one), instance_id=each), request_of(one)) for each in ("a1b2c", "../d")]
    assert len({*names, *again}) == 4 and "/" not in "".join(again)
    made = [StartFolder.shared(Store(tmp_path / "store"), name) for name in names]
    assert [new for _, new in made] == [True, False, True] and made[0][0] == made[1][0] != made[2][0]


@pytest.mark.parametrize("args", [(), (None,) * 9, (object(),), (SimpleNamespace(model_config=None),)])
def test_a_call_that_cannot_be_read_goes_on(override: VllmOverride, args: tuple[Any, ...]) -> None:
    loader = ModuleType("vllm.model_executor.model_loader.base_loader")
    loader.initialize_model = lambda *args, **kwargs: (args, kwargs)  # type: ignore[attr-defined]
    override.watch_the_load(loader)
    assert loader.initialize_model(*args, more=1) == (args, {"more": 1})


def test_the_name_is_replaced_wherever_it_was_imported_to(override: VllmOverride, warmup: Warmup) -> None:
    importer = ModuleType("vllm.model_executor.warmup.kernel_warmup")
    importer.deep_gemm_warmup = warmup._own  # type: ignore[attr-defined]
    override.replace(importer)
    override.replace(warmup)
    assert importer.deep_gemm_warmup == warmup.deep_gemm_warmup == override.deep_gemm_warmup
    assert override._module is warmup


def test_an_error_of_vllms_monitor_is_logged(
    override: VllmOverride, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its mode ``error``, and a version whose monitor has another function."""
    event = JitEvent(0.0, 1, "", "kernel", (), JitOutcome.COMPILED, 1.0)
    override.kregistry_jit_compiled(event)
    assert caplog.text == ""

    def refuse(**_: object) -> None:
        raise RuntimeError("no compile while serving")

    for monitor in (SimpleNamespace(is_active=lambda: True, _handle_jit_event=refuse), SimpleNamespace()):
        monkeypatch.setitem(sys.modules, "vllm.utils.jit_monitor", monitor)  # type: ignore[arg-type]
        override.kregistry_jit_compiled(event)
    assert "RuntimeError: no compile while serving" in caplog.text and "AttributeError" in caplog.text
