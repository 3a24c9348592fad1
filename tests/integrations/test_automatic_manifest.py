"""The manifest of a start: formulas, remembered calls, a named file, and what happens if one of them is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve

from kregistry.integrations.automatic_manifest import manifest_for, manifest_text
from kregistry.integrations.remembered_calls import as_line, model_key, remember, remembered
from kregistry.integrations.start_folder import Request
from kregistry.manifest import Manifest, load_manifest
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.target import get_target
from manifests import with_kernels

H100 = get_target("h100")
CONFIG = json.loads((Path(__file__).parents[2] / "manifests/configs/deepseek-v3.json").read_text())
REQUEST = Request("sglang", "m", CONFIG, {"tp": 8, "chunked_prefill": 4096, "of a later version": 1}, 16384)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture(autouse=True)
def no_named_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KREGISTRY_MANIFEST", raising=False)
    monkeypatch.delenv("KREGISTRY_MODEL", raising=False)


def shapes(manifest: Manifest) -> dict[str, int]:
    return {f"{each.kernel_type} {each.shape['n']}x{each.shape['k']}": each.range.stop for each in manifest.entries}


def test_it_has_the_calls_of_init(registry: Registry, tmp_path: Path) -> None:
    made = manifest_for(REQUEST, registry, Store(tmp_path), H100)
    stored = load_manifest(Path(__file__).parents[2] / "manifests/deepseek-v3.sglang-tp8.yaml", registry, H100)
    assert shapes(made).keys() == shapes(stored).keys()


def test_it_ends_no_earlier_than_the_engines_own_warm_up(registry: Registry, tmp_path: Path) -> None:
    request = evolve(REQUEST, warmed=("fp8_gemm_nt",), largest=200_000)
    made = manifest_for(request, registry, Store(tmp_path), H100)
    assert set(shapes(made).values()) == {200_000}


def test_rows_and_layout_are_those_of_the_installed_vllm(registry: Registry, tmp_path: Path) -> None:
    """vLLM without FlashInfer calls DeepGEMM from one row on; vLLM 0.33 has another layout of the rows of experts."""
    plain = Request("vllm", "m", CONFIG, {"tp": 1, "moe_runner": "deep_gemm"})
    for request, rows, psum in ((plain, 32, False), (evolve(plain, first_rows=1, psum_scales=("f32",)), 1, True)):
        made = manifest_for(request, registry, Store(tmp_path), H100)
        linear = [each for each in made.entries if each.kernel_type == "fp8_gemm_nt"]
        experts = [each for each in made.entries if each.kernel_type == "m_grouped_fp8_gemm_nt_contiguous"]
        assert linear and {each.range.start for each in linear} == {rows}
        assert experts and {each.shape["use_psum_layout"] for each in experts} == {psum}
        text = tmp_path / "made.yaml"
        text.write_text(manifest_text(made))
        assert load_manifest(text, registry, H100).entries == tuple(
            evolve(each, model=made.file) for each in made.entries
        )


@pytest.mark.parametrize(("psum_scales", "psum"), [((), False), (("ue8m0",), True)])
def test_the_layout_of_fp4_experts_is_that_of_the_installed_vllm(
    registry: Registry, tmp_path: Path, psum_scales: tuple[str, ...], psum: bool
) -> None:
    config = json.loads((Path(__file__).parents[2] / "manifests/configs/deepseek-v4-flash.json").read_text())
    request = Request("vllm", "m", config, {"tp": 4, "moe_runner": "deep_gemm"}, psum_scales=psum_scales)
    made = manifest_for(request, registry, Store(tmp_path), get_target("b200"))
    experts = [each for each in made.entries if each.kernel_type == "m_grouped_fp8_fp4_gemm_nt_contiguous"]
    assert experts and {each.shape["use_psum_layout"] for each in experts} == {psum}


def test_an_architecture_without_formulas_leaves_the_other_sources(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "kernels.yaml"
    path.write_text(with_kernels("{type: fp8_gemm_nt, shape: {n: 512, k: 1024}, m: {stop: 8}}"))
    monkeypatch.setenv("KREGISTRY_MANIFEST", str(path))
    request = evolve(REQUEST, config={**CONFIG, "architectures": ["NobodyKnowsForCausalLM"]})
    made = manifest_for(request, registry, Store(tmp_path), H100)
    assert shapes(made) == {"fp8_gemm_nt 512x1024": 8}
    assert "no manifest for m from its config" in caplog.text and "NobodyKnowsForCausalLM" in caplog.text


@pytest.mark.parametrize("text", ["", "version: 1\nmodels: 3\n", None])
def test_a_named_file_that_is_wrong_leaves_the_other_sources(
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    text: str | None,
) -> None:
    path = tmp_path / "kernels.yaml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("KREGISTRY_MANIFEST", str(path))
    assert manifest_for(REQUEST, registry, Store(tmp_path), H100).entries
    assert "KREGISTRY_MANIFEST is not used" in caplog.text


def test_remembered_calls_belong_to_a_model_and_its_deployment(registry: Registry, tmp_path: Path) -> None:
    store = Store(tmp_path)
    nothing = evolve(REQUEST, automatic=False)
    path = tmp_path / "kernels.yaml"
    path.write_text(
        with_kernels(
            "{type: fp8_gemm_nt, shape: {n: 512, k: 1024}, m: {stop: 8}}",
            "{type: fp8_gemm_nt, shape: {n: 512, k: 1024}, m: {start: 4, stop: 16}}",
            "{type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 1024, num_splits: none}, m: {stop: 8}}",
        )
    )
    entries = load_manifest(path, registry, H100).entries
    for entry in (*entries, *entries):
        remember(store, model_key(nothing), entry)
    assert len(list(remembered(store, model_key(nothing)))) == 3
    made = manifest_for(nothing, registry, store, H100)
    assert shapes(made) == {"fp8_gemm_nt 512x1024": 16, "tf32_hc_prenorm_gemm 24x1024": 8}  # one range in place of two
    assert as_line(entries[2]).startswith("- {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 1024, num_splits: none")
    other = evolve(nothing, deployment={"tp": 4})
    assert manifest_for(other, registry, store, H100).entries == ()


def test_a_damaged_remembered_call_is_left_out(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "first_calls" / model_key(REQUEST)
    folder.mkdir(parents=True)
    (folder / "x.yaml").write_text("{")
    assert manifest_for(REQUEST, registry, Store(tmp_path), H100).entries
    assert "a remembered call is not used" in caplog.text


def test_the_written_manifest_is_read_as_it_was(registry: Registry, tmp_path: Path) -> None:
    made = manifest_for(REQUEST, registry, Store(tmp_path), H100)
    path = tmp_path / "written.yaml"
    path.write_text(manifest_text(made))
    again = load_manifest(path, registry, H100)
    assert again.entries == made.entries and again.models == made.models
