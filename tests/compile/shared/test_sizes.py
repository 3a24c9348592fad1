"""Sizes: large and small kernels are distinguished before compilation; unknown sizes are estimated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_kernels import small_kernel

from kregistry.compile.shared.kernel_family import KernelFamily, Member
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.kernel import CompilerCommand


def member(arguments: str, name: str = "gemm") -> Member:
    return Member(small_kernel(name), FAMILY, "&gemm<>", tuple(arguments.split(", ")))


FAMILY = KernelFamily("#include <gemm.cuh>", CompilerCommand((), ()))
#: The second argument determines the size, the third does not; the first is different for each.
KNOWN = {"7, 16, a": 100, "8, 16, b": 120, "9, 64, a": 400, "10, 64, b": 380}


@pytest.fixture
def sizes(tmp_path: Path) -> KernelSizes:
    (tmp_path / "ptx_bytes.json").write_text(json.dumps({"gemm": {"one": 250, "bytes": KNOWN}}))
    return KernelSizes(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "nbytes"),
    [("7, 16, a", 100), ("11, 16, a", 110), ("7, 64, a", 390), ("7, 32, a", 250), ("7", 250), ("8, 64, b, more", 390)],
)
def test_the_same_kernel_else_those_alike(sizes: KernelSizes, arguments: str, nbytes: int) -> None:
    """The mean is 250, which is the estimate if no argument is predictive."""
    assert sizes.relative(member(arguments)) == pytest.approx(nbytes / 250)


def test_nothing_is_known_of_a_family(sizes: KernelSizes) -> None:
    assert sizes.relative(member("7, 16, a", name="other")) == 1.0


def test_shipped_sizes_distinguish_tiles_of_fp8_gemms(tmp_path: Path) -> None:
    """BLOCK_N is the seventh argument; another model has other N and K."""
    shipped = KernelSizes(tmp_path)

    def relative(block_m: int, block_n: int) -> float:
        arguments = f"cute::UMMA::Major::K, 0, 5120, 640, 1, {block_m}, {block_n}, 128, 128, 128, 64, 5, 128, 256"
        return shipped.relative(member(arguments, "sm90_fp8_gemm_1d2d"))

    assert relative(64, 160) > relative(64, 192) > relative(64, 96) > 1.5 > relative(64, 128) > relative(64, 16)
    assert relative(64, 40) == 1.0


def test_what_was_made_is_known_at_once_and_to_later_builds(sizes: KernelSizes, tmp_path: Path) -> None:
    sizes.learn([(member("7, 16, a"), 300), (member("1, 2", name="other"), 10), (member("1, 3", name="other"), 30)])
    assert sizes.relative(member("7, 16, a")) == pytest.approx(300 / 250)
    assert sizes.relative(member("1, 3", name="other")) == 1.5
    sizes.save()
    again = KernelSizes(tmp_path)
    for each in (member("7, 16, a"), member("9, 64, a"), member("1, 3", name="other"), member("5, 3", name="other")):
        assert again.relative(each) == sizes.relative(each)


def test_one_known_kernel_predicts_no_others(sizes: KernelSizes) -> None:
    sizes.learn([(member("1, 2", name="other"), 10)])
    assert sizes.relative(member("1, 3", name="other")) == sizes.relative(member("4", name="other")) == 1.0


def test_two_builds_at_once_keep_what_both_learned(tmp_path: Path) -> None:
    one, other = KernelSizes(tmp_path), KernelSizes(tmp_path)
    one.learn([(member("1, 2"), 10)])
    other.learn([(member("1, 3"), 30)])
    one.save()
    other.save()
    assert json.loads((tmp_path / "ptx_bytes.json").read_text()) == {
        "gemm": {"one": 30, "bytes": {"1, 2": 10, "1, 3": 30}}
    }


def test_nothing_learned_nothing_written(tmp_path: Path) -> None:
    KernelSizes(tmp_path).save()
    assert list(tmp_path.iterdir()) == []


def test_size_1_is_the_mean_of_what_the_first_build_made(tmp_path: Path) -> None:
    """The sample, which is small, is made first; other families are larger than it in all."""
    sizes = KernelSizes(tmp_path)
    for nbytes in (100, 200, 900):
        sizes.learn([(member(f"{nbytes}"), nbytes)])
    assert sizes.relative(member("900")) == pytest.approx(900 / 400)
    sizes.save()
    again = KernelSizes(tmp_path)
    again.learn([(member("5"), 5000)])
    assert again.relative(member("900")) == pytest.approx(900 / 400)


def test_the_stores_size_1_wins_over_the_packages(tmp_path: Path) -> None:
    """The store's seconds were learned for it."""
    shipped = KernelSizes(tmp_path)
    (tmp_path / "ptx_bytes.json").write_text('{"sm90_fp8_gemm_1d2d": {"one": 1000, "bytes": {"1": 3000}}}')
    assert shipped.relative(member("1", "sm90_fp8_gemm_1d2d")) == 1.0
    assert KernelSizes(tmp_path).relative(member("1", "sm90_fp8_gemm_1d2d")) == 3.0


def test_what_size_1_is_does_not_change(sizes: KernelSizes, tmp_path: Path) -> None:
    """Else the seconds that were learned for it would mean something else."""
    sizes.learn([(member(f"{n}, 128, a"), 10_000) for n in range(20)])
    sizes.save()
    for known in (sizes, KernelSizes(tmp_path)):
        assert known.relative(member("9, 64, a")) == pytest.approx(400 / 250)


def test_kernels_with_other_arguments_do_not_spoil_it(sizes: KernelSizes) -> None:
    sizes.learn([(member("7"), 900), (member("12, 16, a, x, y"), 105)])
    assert sizes.relative(member("14, 64, b")) == pytest.approx(390 / 250)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"gemm": 3}',
        '{"gemm": {}}',
        '{"gemm": {"one": 1, "bytes": {"1": "x", "2": -1, "3": 0}}}',
        '{"gemm": {"one": 0, "bytes": {"1": 3}}}',
        '{"gemm": {"one": 1, "bytes": {"1": 1e400}}}',
        "\xff",
    ],
)
def test_a_damaged_file_costs_only_estimates(tmp_path: Path, content: str) -> None:
    (tmp_path / "ptx_bytes.json").write_bytes(content.encode("latin-1"))
    sizes = KernelSizes(tmp_path)
    assert sizes.relative(member("1")) == 1.0
    sizes.learn([(member("1"), 10), (member("2"), 30)])
    sizes.save()
    assert KernelSizes(tmp_path).relative(member("1")) == 0.5


def test_a_store_that_cannot_be_written_costs_only_estimates(tmp_path: Path) -> None:
    sizes = KernelSizes(tmp_path / "nowhere")
    sizes.learn([(member("1"), 10)])
    sizes.save()
    assert not (tmp_path / "nowhere").exists()
