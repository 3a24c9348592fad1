"""A build that is killed at any moment leaves only complete entries, and the next one goes on from there."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.plan import Plan
from kregistry.store import Store
from kregistry.store.listing import matching
from kregistry.verify import verify_kernels
from tests.end_to_end.conftest import Workplace

KILLS = 30
SCRIPT = Path(__file__).with_name("build_kernels_of_a_plan.py")
#: What a fault may say after a kill: the kernel is not there yet. Anything else is damage.
MISSING = "missing"


def start(workplace: Workplace, kernels: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SCRIPT), str(kernels), str(workplace.store), str(workplace.cache)]
    return subprocess.Popen(command, env=dict(workplace.environment), start_new_session=True)


@pytest.mark.slow
def test_thirty_kills_leave_nothing_damaged(workplace: Workplace, small_plan: Plan, pickled_plan: Path) -> None:
    chance = random.Random(20261124)
    kernels = list(small_plan.kernels.values())
    store, cache = Store(workplace.store), JitCache(workplace.cache)
    killed = 0
    for _ in range(KILLS):
        for kernel in chance.sample(kernels, 3):  # there is always something left to do
            shutil.rmtree(store.entry(kernel.key), ignore_errors=True)
            shutil.rmtree(cache.entry(kernel), ignore_errors=True)
        process = start(workplace, pickled_plan)
        time.sleep(chance.uniform(0.2, 5.0))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        faults = verify_kernels(kernels, store, cache).faults
        assert [str(fault) for fault in faults if fault.text != MISSING] == []
    assert killed > KILLS / 2
    assert start(workplace, pickled_plan).wait() == 0
    assert verify_kernels(kernels, store, cache).faults == ()


@pytest.mark.slow
def test_the_command_line_is_killed_and_run_again(workplace: Workplace, small_plan: Plan, small_manifest: Path) -> None:
    kernels = list(small_plan.kernels.values())
    store, cache = Store(workplace.store), JitCache(workplace.cache)
    build = workplace.kregistry("build", small_manifest)
    while not any(matching(workplace.store, "kernels/*/*/kernel.cubin")):
        assert build.poll() is None, build.communicate()
        time.sleep(0.05)
    build.send_signal(signal.SIGKILL)
    build.communicate()
    assert any(store.get(kernel.key) for kernel in kernels)  # each of them intact, or get() would raise
    again = workplace.kregistry("build", small_manifest, "--json")
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert f'"ready": {len(kernels)}' in out
    assert verify_kernels(kernels, store, cache).faults == ()
