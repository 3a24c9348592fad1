"""Sealed and watched calls under threads, CUDA graph capture and torch.compile."""

from __future__ import annotations

from pathlib import Path

from on_stub import answer


def test_threads_meet_the_old_or_the_new_call(tmp_path: Path) -> None:
    got = answer(
        """
        import threading
        registry = kregistry.Registry()
        dispatch = kregistry.Dispatch(registry)
        call = registry["tf32_hc_prenorm_gemm"]
        args, kwargs = hc(4, 2)
        call(*args, **kwargs)
        stop, errors, called = threading.Event(), [], [threading.Event() for _ in range(4)]
        def work(own):
            try:
                while not stop.is_set():
                    call(*args, **kwargs)
                    own.set()
            except BaseException as error:
                errors.append(repr(error))
        threads = [threading.Thread(target=work, args=[each]) for each in called]
        for thread in threads:
            thread.start()
        for _ in range(25):
            dispatch.seal()
            dispatch.watch("warn")
            with dispatch.record() as recording:
                call(*args, **kwargs)
        calls = errors or all(each.wait(200) for each in called)
        stop.set()
        for thread in threads:
            thread.join()
        answer(errors=errors, calls=calls, recorded=len(recording.calls()))
        """,
        tmp_path,
    )
    assert got == {"errors": [], "calls": True, "recorded": 1}


def test_torch_compile_fullgraph_through_a_custom_op(tmp_path: Path) -> None:
    """DeepGEMM's functions are opaque to torch.compile; engines wrap them in custom ops, and so are ours."""
    got = answer(
        """
        registry = kregistry.Registry()
        call = registry["tf32_hc_prenorm_gemm"]

        @torch.library.custom_op("kregistry_test::hc", mutates_args=("d", "s"))
        def hc_op(a: torch.Tensor, b: torch.Tensor, d: torch.Tensor, s: torch.Tensor, num_splits: int) -> None:
            call(a, b, d, s, num_splits=num_splits)

        @torch.compile(backend="eager", fullgraph=True)
        def layer(a, b, d, s):
            hc_op(a, b, d, s, 4)
            return d

        (a, b, d, s), _ = hc(8, 4)
        before = layer(a, b, d, s) is d
        kregistry.Dispatch(registry).seal()
        from kregistry.stub.recorder import Recorder
        recorder = Recorder()
        recorder.mark(); layer(a, b, d, s); recorder.mark()
        answer(before=before, launched=len(recorder.launches()[0]) == 4)
        """,
        tmp_path,
    )
    assert got == {"before": True, "launched": True}


def test_process_wide_settings_hold_for_sealed_calls(tmp_path: Path) -> None:
    """As under SGLang's ``configure_deep_gemm_num_sms``: a sealed call obeys, and the monitor sees what it compiles."""
    got = answer(
        """
        from kregistry.jit_monitor import JitMonitor
        registry = kregistry.Registry()
        kregistry.Dispatch(registry).seal()
        monitor = JitMonitor(registry, "count").start(deep_gemm_unused=True)
        dense, prenorm = registry["fp8_gemm_nt"], registry["tf32_hc_prenorm_gemm"]
        def call_both():
            for function, (args, kwargs) in ((dense, fp8(64)), (prenorm, hc(64, 2))):
                function(*args, **kwargs)
            return len(os.listdir(os.path.expanduser("~/.deep_gemm/cache")))
        plain = call_both()
        deep_gemm.set_pdl(True)
        pdl = call_both()
        deep_gemm.set_pdl(False)
        sms = deep_gemm.get_num_sms()
        deep_gemm.set_num_sms(66)
        fewer = call_both()
        deep_gemm.set_num_sms(sms)
        end = call_both()
        monitor.stop()
        answer(plain=plain, pdl=pdl, fewer=fewer, end=end, counts=dict(monitor.counts))
        """,
        tmp_path,
    )
    assert got["plain"] == got["pdl"] == 3  # the GEMM, its scale factors, and the other GEMM
    assert got["fewer"] == got["end"] == 4  # num_sms is part of the FP8 kernel only
    assert got["counts"] == {"compiled": 4}


def test_settings_that_are_dimensions_are_recorded_and_covered(tmp_path: Path) -> None:
    got = answer(
        """
        from pathlib import Path
        name = "m_grouped_bf16_gemm_nt_contiguous"
        registry = kregistry.Registry()
        dispatch = kregistry.Dispatch(registry)
        kind, target = registry[name], kregistry.get_target("h100")
        shape = kind.resolve({"num_groups": 2, "n": 256, "k": 512}, target)
        call = kind.arguments(kind.allocate_buffers(shape, 512), 256)
        with dispatch.record() as recording:
            kind(*call.args, **call.kwargs)
            deep_gemm.set_mk_alignment_for_contiguous_layout(64)
            kind(*call.args, **call.kwargs)
        content = recording.manifest(registry.__getitem__, target)
        from kregistry.manifest.writer import dump_manifest
        Path(os.environ["HOME"], "m.yaml").write_text(dump_manifest(content))
        dispatch.cover(kregistry.load_manifest(Path(os.environ["HOME"], "m.yaml"), registry))
        dispatch.watch("error")
        outcomes = []
        for alignment in (128, 64, 32):
            deep_gemm.set_mk_alignment_for_contiguous_layout(alignment)
            try:
                kind(*call.args, **call.kwargs)
                outcomes.append("called")
            except kregistry.KregistryError as error:
                outcomes.append(error.message)
        answer(shapes=[entry["shape"] for entry in content["models"]["recorded"]["kernels"]], outcomes=outcomes)
        """,
        tmp_path,
    )
    assert [shape.get("mk_alignment") for shape in got["shapes"]] == [None, 64]  # type: ignore[attr-defined]
    *covered, unseen = got["outcomes"]  # type: ignore[misc]
    assert covered == ["called", "called"]
    assert unseen.startswith("unseen call: m_grouped_bf16_gemm_nt_contiguous") and "mk_alignment=32" in unseen
