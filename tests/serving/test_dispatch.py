"""Plain, watched and sealed calls, with real torch and DeepGEMM on the stub GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_stub import answer

from kregistry import Dispatch, Registry
from kregistry.errors import InputError


def test_a_sealed_call_is_deep_gemms_own_function(tmp_path: Path) -> None:
    got = answer(
        """
        registry = kregistry.Registry()
        kept = registry["fp8_gemm_nt"]
        sealed = kregistry.Dispatch(registry).seal()
        args, kwargs = fp8(4)
        kept(*args, **kwargs)
        answer(
            own=sealed["fp8_gemm_nt"] is deep_gemm.fp8_gemm_nt,
            called=kept.__call__ is deep_gemm.fp8_gemm_nt,
            guarded=sealed["tf32_hc_prenorm_gemm"] is not deep_gemm.tf32_hc_prenorm_gemm,
            same=kept is registry["fp8_gemm_nt"],
            shape=kept.resolve({"n": 512, "k": 1024}, kregistry.get_target("h100")).shown(),
            kernels=sorted(name.split(".")[1] for name in os.listdir(os.path.expanduser("~/.deep_gemm/cache"))),
        )
        """,
        tmp_path,
    )
    assert got["own"] and got["called"] and got["guarded"] and got["same"]
    assert got["shape"] == {"n": 512, "k": 1024, "scales": "f32"}
    assert got["kernels"] == ["sm90_fp8_gemm_1d2d", "transpose_fp32"]


def test_sealing_one_registry_leaves_another_alone_and_pickles(tmp_path: Path) -> None:
    got = answer(
        """
        import copy, pickle
        one, other = kregistry.Registry(), kregistry.Registry()
        plain = other["fp8_gemm_nt"]
        dispatch = kregistry.Dispatch(one)
        dispatch.seal()
        kept = one["fp8_gemm_nt"]
        sealed = kept.__call__ is deep_gemm.fp8_gemm_nt
        copies = [pickle.loads(pickle.dumps(kept)), copy.copy(kept)]
        dispatch.watch("compile")
        calls = [each.__call__ == each.launch for each in (plain, kept, *copies)]
        answer(sealed=sealed, calls=calls, types=all(type(each) is type(plain) for each in copies))
        """,
        tmp_path,
    )
    assert got == {"sealed": True, "calls": [True] * 4, "types": True}


UNSEEN = """
from pathlib import Path
Path("m.yaml").write_text('''
version: 1
target: h100
models:
  small:
    kernels:
      - {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 1024, num_splits: occupancy}, m: {stop: 8}}
''')
class Listener:
    seen = []
    @kregistry.hookimpl
    def kregistry_unseen_call(self, kernel_type, shape, m):
        self.seen.append([kernel_type, dict(shape), m])
registry = kregistry.Registry()
registry.listen(Listener())
dispatch = kregistry.Dispatch(registry)
dispatch.cover(kregistry.load_manifest("m.yaml", registry))
call = registry["tf32_hc_prenorm_gemm"]
def attempt(*call_arguments):
    args, kwargs = hc(*call_arguments)
    try:
        call(*args, **kwargs)
        return "called"
    except kregistry.KregistryError as error:
        return str(error)
"""


@pytest.mark.parametrize("policy", ["compile", "warn", "error"])
def test_unseen_calls_follow_the_policy(tmp_path: Path, policy: str) -> None:
    got = answer(
        "import os; os.chdir(os.environ['HOME'])\n"
        + UNSEEN
        + f"dispatch.watch({policy!r})\n"
        + """
covered = [attempt(8, 4), attempt(1, 4)]
unseen = [attempt(9, 4), attempt(8, 3), attempt(8, 3)]
dispatch.seal()
registry.events.flush()
answer(covered=covered, unseen=unseen, sealed=attempt(9, 4), told=Listener.seen)
""",
        tmp_path,
    )
    assert got["covered"] == ["called", "called"]
    assert got["sealed"] == "called"
    if policy == "error":
        hint = "hint: add it to the manifest: kregistry record writes one that covers a run"
        shape = "unseen call: tf32_hc_prenorm_gemm n=24 k=1024 num_splits="
        assert got["unseen"] == [f"{shape}4 at m 9\n{hint}", f"{shape}3 at m 8\n{hint}", f"{shape}3 at m 8\n{hint}"]
        assert got["told"] == []
    else:
        assert got["unseen"] == ["called"] * 3
        name = "tf32_hc_prenorm_gemm"
        told = [[name, {"n": 24, "k": 1024, "num_splits": 4}, 9], [name, {"n": 24, "k": 1024, "num_splits": 3}, 8]]
        assert got["told"] == (told if policy == "warn" else [])


def test_debug_mode_names_every_tensor_that_differs(tmp_path: Path) -> None:
    got = answer(
        """
        registry = kregistry.Registry()
        kregistry.Dispatch(registry).watch("compile", debug=True)
        call = registry["fp8_gemm_nt"]
        (a, b, d), _ = fp8(4)
        call(a, b, d)
        try:
            call((a[0], a[1][:, :7]), b, torch.empty(4, 513, dtype=torch.bfloat16, device="cuda"))
        except kregistry.KregistryError as error:
            wrong = error.message
        masked = registry["m_grouped_fp8_gemm_nt_masked"]
        shape = masked.resolve({"num_groups": 2, "n": 512, "k": 1024}, kregistry.get_target("h100"))
        buffers = masked.allocate_buffers(shape, 512)
        masked(*masked.arguments(buffers, 8).args)
        answer(wrong=wrong)
        """,
        tmp_path,
    )
    assert got["wrong"] == (
        "fp8_gemm_nt: argument 1[1]: expected float32[4, 8], got float32[4, 7]; "
        "argument 3: expected bfloat16[4, 512], got bfloat16[4, 513]"
    )


def test_unknown_policy_and_missing_function() -> None:
    from kregistry import Dispatch, KregistryError, Registry

    with pytest.raises(KregistryError, match="unknown policy 'wran'\nhint: did you mean 'warn'"):
        Dispatch(Registry()).watch("wran")


def test_a_call_that_is_known_to_crash_is_not_covered(tmp_path: Path) -> None:
    got = answer(
        "import os; os.chdir(os.environ['HOME'])\n"
        + UNSEEN
        + """
from kregistry.compile import BrokenKernel, BrokenRange
manifest = kregistry.load_manifest("m.yaml", registry)
broken = BrokenKernel("gemm.0", "0" * 64, "error", (BrokenRange(manifest.entries[0], 3, 5),))
dispatch.cover(manifest, [broken])
dispatch.watch("error")
answer(calls=[attempt(m, 4) for m in (2, 3, 5, 6)])
""",
        tmp_path,
    )
    refused = [
        f"call of a kernel that does not compile: tf32_hc_prenorm_gemm n=24 k=1024 num_splits=4 at m {m}\n"
        "hint: DeepGEMM chooses a kernel here that the compiler refuses; see `kregistry docs broken-kernels`"
        for m in (3, 5)
    ]
    assert got["calls"] == ["called", *refused, "called"]


def test_two_objects_for_views_of_one_registry_are_refused() -> None:
    """They would bind the same kernel types, and undo each other's state."""
    registry = Registry()
    first = Dispatch(registry.choosing({}))
    for view in (registry, registry.choosing({})):
        with pytest.raises(InputError, match="a Dispatch for the kernel types of this registry, or of a view of it"):
            Dispatch(view)
    Dispatch(Registry())
    del first
    Dispatch(registry)
