"""Sealed and watched calls under threads, CUDA graph capture and torch.compile."""

from __future__ import annotations

from pathlib import Path

from tests.on_stub import answer


def test_threads_meet_the_old_or_the_new_call(tmp_path: Path) -> None:
    got = answer(
        """
        import threading
        registry = kregistry.Registry()
        call = registry["tf32_hc_prenorm_gemm"]
        args, kwargs = hc(4, 2)
        call(*args, **kwargs)
        stop, errors, counts = threading.Event(), [], []
        def work():
            count = 0
            try:
                while not stop.is_set():
                    call(*args, **kwargs)
                    count += 1
            except BaseException as error:
                errors.append(repr(error))
            counts.append(count)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(25):
            registry.seal()
            registry.dispatch.watch("warn")
            with registry.record() as recording:
                call(*args, **kwargs)
        stop.set()
        for thread in threads:
            thread.join()
        answer(errors=errors, calls=min(counts) > 0, recorded=len(recording.calls()))
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
        registry.seal()
        from kregistry.plan.stub.recorder import Recorder
        recorder = Recorder()
        recorder.mark(); layer(a, b, d, s); recorder.mark()
        answer(before=before, launched=len(recorder.launches()[0]) == 4)
        """,
        tmp_path,
    )
    assert got == {"before": True, "launched": True}
