"""The directories of DeepGEMM's JIT cache, and what the real library does with the same variables."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_stub import environment, run

from kregistry.deep_gemm.cache_layout import SERIES_1, SERIES_2, CacheLayout, all_roots, layout_of
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.kernel import Kernel

HOME = {"HOME": "/home/me"}


@pytest.mark.parametrize(
    ("layout", "variables", "roots"),
    [
        (SERIES_1, {}, ["/home/me/.deep_gemm"]),
        (SERIES_1, {"DG_JIT_CACHE_DIR": "/a"}, ["/a"]),
        (SERIES_1, {"DG_JIT_CACHE_DIR": ""}, ["/home/me/.deep_gemm"]),
        (SERIES_1, {"DJ_JIT_CACHE_DIR": "/b"}, ["/home/me/.deep_gemm"]),
        (SERIES_1, {"DG_JIT_CACHE_DIR": "/a:/b"}, ["/a:/b"]),
        (SERIES_1, {"DG_JIT_CACHE_DIR": "~/a"}, ["~/a"]),
        (SERIES_1, {"DG_JIT_CACHE_DIR": "a/b"}, ["a/b"]),
        (SERIES_1, {"HOME": ""}, [".deep_gemm"]),
        (SERIES_2, {}, ["/home/me/.dj"]),
        (SERIES_2, {"DJ_JIT_CACHE_DIR": "/b"}, ["/b"]),
        (SERIES_2, {"DG_JIT_CACHE_DIR": "/a", "DJ_JIT_CACHE_DIR": "/b"}, ["/a"]),
        (SERIES_2, {"DG_JIT_CACHE_DIR": "/a:/b"}, ["/a", "/b"]),
        (SERIES_2, {"DJ_JIT_CACHE_DIR": "~/a:b"}, ["~/a", "b"]),
    ],
)
def test_the_directories_of_a_version(layout: CacheLayout, variables: dict[str, str], roots: list[str]) -> None:
    assert layout.roots({**HOME, **variables}) == tuple(map(Path, roots))


def test_without_a_home_the_default_is_in_the_working_directory() -> None:
    assert SERIES_1.roots({}) == (Path(".deep_gemm"),)


def test_all_roots_are_those_of_every_version() -> None:
    assert all_roots(HOME) == (Path("/home/me/.deep_gemm"), Path("/home/me/.dj"))
    assert all_roots({"DG_JIT_CACHE_DIR": "/a"}) == (Path("/a"),)
    assert all_roots({"DG_JIT_CACHE_DIR": "/a:/b"}) == (Path("/a:/b"), Path("/a"), Path("/b"))


def test_the_layout_of_a_kernel() -> None:
    assert layout_of(Path(".deep_gemm/cache/kernel.name.0123")) is SERIES_1
    assert layout_of(Path(".dj/cache/name.0123")) is SERIES_2


@pytest.mark.parametrize("named", ["", "{home}/a", "{home}/a:{home}/~/b"], ids=["default", "one", "colon and tilde"])
def test_the_real_library_writes_where_it_is_expected(kernel: Kernel, tmp_path: Path, named: str) -> None:
    variables = {"DG_JIT_CACHE_DIR": named.format(home=tmp_path)} if named else {}
    run("args, kwargs = hc(3, k=256)\ndeep_gemm.tf32_hc_prenorm_gemm(*args, **kwargs)\n", tmp_path, **variables)
    assert JitCache(environment=environment(tmp_path, **variables)).cubin(kernel).is_file()
