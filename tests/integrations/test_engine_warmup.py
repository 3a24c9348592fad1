"""What an engine's warm-up becomes, without an engine: build, kept plan, launches; one real kernel."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from distributions import OFFERS, Install
from engine_on_stub import run_forked as run
from on_stub import PRELUDE

from kregistry.errors import ProviderConflictError
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.target import get_target
from manifests import with_kernels

WARM = """
import deep_gemm, torch
from kregistry.integrations.engine_warmup import EngineWarmup
engine = EngineWarmup("test")
entry = engine.entry("tf32_hc_prenorm_gemm", {"n": 24, "k": 1024, "num_splits": 3}, 8, "hc")
report = engine.warm([entry])
answer(
    range=str(entry.range), target=entry.shape.target.device_name, planned=report.build is not None,
    built=len(report.build.compiled) if report.build else 0, loaded=len(report.loaded),
    compiled=len(report.compiled), kernels=kernels(), real=real_cubins(),
)
"""


def test_a_plan_is_kept_until_a_cubin_is_gone(tmp_path: Path) -> None:
    first = run(WARM, tmp_path)
    assert (first["planned"], first["built"], first["loaded"], first["real"]) == (True, 1, 1, 1)
    assert first["range"] == "m 1..8" and first["target"] == "NVIDIA H100 80GB HBM3"
    again = run(WARM, tmp_path)
    assert (again["planned"], again["built"], again["loaded"], again["compiled"]) == (False, 0, 1, 0)
    shutil.rmtree(tmp_path / "cache")
    healed = run(WARM, tmp_path)
    assert (healed["planned"], healed["built"], healed["real"]) == (True, 0, 1)
    other_settings = run(WARM, tmp_path, DG_JIT_WITH_LINEINFO="0")
    assert other_settings["planned"]
    prints_more = run(WARM, tmp_path, DG_PRINT_CONFIGS="1")  # changes no kernel: the first plan is used
    assert not prints_more["planned"]


def test_contiguous_rows_end_at_a_multiple_of_their_step(tmp_path: Path) -> None:
    got = run(
        """
from kregistry.integrations.engine_warmup import EngineWarmup
shape = {"num_groups": 2, "n": 512, "k": 1024}
engine = EngineWarmup("test")
name = "m_grouped_fp8_gemm_nt_contiguous"
answer(ranges=[str(engine.entry(name, shape, stop).range) for stop in (1, 300, 1024)])
""",
        tmp_path,
    )
    assert got["ranges"] == ["m 128..128 step 128", "m 128..256 step 128", "m 128..1024 step 128"]


@pytest.mark.slow
def test_a_kernel_that_does_not_compile_is_logged_and_the_rest_is_loaded(tmp_path: Path) -> None:
    """The engine's own warm-up would crash over it, so that falling back to it is no way out."""
    got = run(
        """
import deep_gemm, torch
from kregistry.integrations.engine_warmup import EngineWarmup
engine = EngineWarmup("test")
report = engine.warm([engine.entry("fp8_gemm_nt_wgrad", {"n": 64, "k": 256}, 64, "dw")])
answer(loaded=len(report.loaded), broken=len(report.broken), total=report.total, compiled=len(report.compiled))
""",
        tmp_path,
    )
    assert (got["loaded"], got["broken"], got["total"], got["compiled"]) == (2, 2, 4, 0)
    for values in ("1..16", "17..32"):
        crash = f"a server would crash in test: fp8_gemm_nt_wgrad n=64 k=256 (dw) at m {values}"
        assert crash in got["text"]


def test_fewer_sms_around_the_call_do_not_change_what_is_warmed(tmp_path: Path) -> None:
    got = run(
        """
import deep_gemm, torch
from kregistry.integrations.engine_warmup import EngineWarmup
engine = EngineWarmup("test")
deep_gemm.set_num_sms(66)
report = engine.warm([engine.entry("fp8_gemm_nt", {"n": 512, "k": 1024}, 16)])
answer(sms=deep_gemm.get_num_sms(), compiled=len(report.compiled), kernels=len(kernels()), real=real_cubins())
""",
        tmp_path,
    )
    assert got["sms"] == 66 and got["compiled"] == 0
    assert got["kernels"] == got["real"] == 2


def test_the_providers_that_a_named_manifest_chooses_hold_for_the_engine(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("dist-a", "1.0", OFFERS.format("Sample"), plugin="first")
    install("dist-b", "2.0", OFFERS.format("OtherSample"), plugin="second")
    path = tmp_path / "kernels.yaml"
    path.write_text(with_kernels("{type: sample, shape: {n: 8}, m: {stop: 3}}") + "providers: {sample: second}\n")
    engine = EngineWarmup("test")
    monkeypatch.setattr(engine, "_target", get_target("h100"))
    assert engine.named_entries() == ()
    with pytest.raises(ProviderConflictError):
        engine.registry["sample"]
    monkeypatch.setenv("KREGISTRY_MANIFEST", str(path))
    assert [str(entry.range) for entry in engine.named_entries()] == ["m 1..3"]
    assert engine.registry["sample"].summary == "another sample"


def test_the_monitor_reads_calls_by_the_providers_that_a_named_manifest_chooses(tmp_path: Path) -> None:
    """A second plugin offers a kernel type of an installed one."""
    path = tmp_path / "kernels.yaml"
    entry = "{type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 1024, num_splits: 2}, m: {stop: 8}}"
    path.write_text(with_kernels(entry) + "providers: {tf32_hc_prenorm_gemm: other}\n")
    got = run(
        """
from kregistry import Registry, hookimpl
from kregistry.integrations.engine_warmup import EngineWarmup
from kregistry.integrations.monitoring import start_monitor
class Other:
    own = Registry()["tf32_hc_prenorm_gemm"]
    @hookimpl
    def kregistry_kernel_types(self):
        return [self.own]
class Listener:
    @hookimpl
    def kregistry_jit_compiled(self, event):
        events.append(event.to_json())
events = []
engine = EngineWarmup("test")
engine.registry.register(Other(), "other")
engine.registry.listen(Listener())
start_monitor(engine)
engine.named_entries()
"""
        + PRELUDE
        + """
args, kwargs = hc(5, 3)
deep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)
engine.observers[0].stop()
engine.registry.events.flush()
answer(calls=[[each["kernel_type"], each["shape"], each["m"]] for each in events])
""",
        tmp_path,
        KREGISTRY_MANIFEST=str(path),
        KREGISTRY_JIT_MONITOR="count",
    )
    assert got["calls"] == [["tf32_hc_prenorm_gemm", {"n": 24, "k": 1024, "num_splits": 3}, 5]]
