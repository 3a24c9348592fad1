"""A small real plan, made once, and the machinery to build it in processes that may be killed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import frozen

from kregistry.manifest import load_manifest
from kregistry.plan import Plan
from kregistry.plan.planner import make_plan
from kregistry.registry import Registry

#: Six kernels of two families: enough to be killed between them, few enough to be built in seconds.
SMALL_MANIFEST = """\
version: 1
target: h100
models:
  small:
    kernels:
      - {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 1024, num_splits: [1, 2, 3, 4]}, m: {stop: 4}}
      - {type: fp8_gemm_nt, shape: {n: 64, k: 512}, m: {stop: 16}}
"""


@pytest.fixture(scope="session")
def small_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "kernels.yaml"
    path.write_text(SMALL_MANIFEST)
    return path


@pytest.fixture(scope="session")
def small_plan(small_manifest: Path, stub_directory: Path) -> Plan:
    registry = Registry()
    plan = make_plan(load_manifest(small_manifest, registry), registry, processes=1, stub_directory=stub_directory)
    assert plan.problems() == ()
    assert len(plan.kernels) == 6
    return plan


@frozen
class Workplace:
    """Store and JIT cache of one test."""

    directory: Path
    environment: Mapping[str, str]

    @property
    def store(self) -> Path:
        return self.directory / "store"

    @property
    def cache(self) -> Path:
        return self.directory / "cache"

    def kregistry(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        """Start the real command line on this store and cache."""
        command = [sys.executable, "-m", "kregistry", *map(str, arguments)]
        command += ["--store", str(self.store), "--cache-dir", str(self.cache)]
        return subprocess.Popen(
            command,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    return Workplace(tmp_path, environment)


@pytest.fixture(scope="session")
def pickled_plan(small_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "kernels.pickle"
    path.write_bytes(pickle.dumps(list(small_plan.kernels.values())))
    return path
