"""The report of a warm-up: what is loaded, what was left, what failed."""

from __future__ import annotations

import json

import pytest
from plans import planned

from kregistry.errors import WarmupError
from kregistry.warm_up import Warmed, WarmedKernel, WarmupReport

ENTRY = planned((1, 8, "0")).entry
WHO = "model: sample n=8 layout=row splits=none sms=132"


def launch(m: int, kernels: str, outcome: Warmed, text: str = "") -> WarmedKernel:
    return WarmedKernel(ENTRY, m, tuple(kernels), outcome, 10 * m, text)


def report(*launches: WarmedKernel, compiled: tuple[str, ...] = ()) -> WarmupReport:
    return WarmupReport(launches, 4, 40, 0.12345, compiled)


def test_everything_is_loaded() -> None:
    done = report(launch(1, "ab", Warmed.LOADED), launch(4, "c", Warmed.LOADED))
    assert done.loaded == ("a", "b", "c")
    assert (done.left, done.failed) == ((), ())
    done.raise_problems()


def test_a_kernel_that_another_launch_loads_is_not_left() -> None:
    late = launch(2, "c", Warmed.LEFT, "too large")
    done = report(launch(1, "ab", Warmed.LEFT), late, launch(4, "ab", Warmed.LOADED))
    assert done.left == (late,)
    done.raise_problems()


def test_a_failed_launch_is_reported_with_its_place() -> None:
    done = report(launch(1, "a", Warmed.LOADED), launch(3, "b", Warmed.FAILED, "RuntimeError: odd"))
    with pytest.raises(WarmupError) as caught:
        done.raise_problems()
    assert str(caught.value) == f"1 of 2 launches failed\n  {WHO} at m 3: RuntimeError: odd"
    assert caught.value.report is done


def test_a_kernel_that_deep_gemm_compiled_is_reported() -> None:
    with pytest.raises(WarmupError) as caught:
        report(launch(1, "a", Warmed.LOADED), compiled=("/jit/kernel.x",)).raise_problems()
    assert str(caught.value) == (
        "DeepGEMM compiled 1 kernel\n  /jit/kernel.x\nhint: another environment planned it? "
        "kregistry doctor shows this one"
    )


def test_the_json_of_a_report() -> None:
    done = report(
        launch(1, "a", Warmed.LOADED), launch(2, "b", Warmed.LEFT, "too large"), launch(3, "c", Warmed.FAILED, "odd")
    )
    assert json.loads(json.dumps(done.to_json())) == {
        "kernels": 4,
        "loaded": 1,
        "launches": 3,
        "left_on_disk": [{"entry": f"{WHO} at m 2: too large", "bytes": 20}],
        "failed": [f"{WHO} at m 3: odd"],
        "compiled": [],
        "broken": [],
        "peak_bytes": 40,
        "seconds": 0.1235,
        "build": None,
    }
