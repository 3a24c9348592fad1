"""Kernels that DeepGEMM launches while an engine loads weights: the scale factors of weights, in another layout."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import frozen

from kregistry.hf_config.call_site import CallSite, LayerVerdict, Rows
from kregistry.kernel_type import Value

#: Kernel types whose weights are FP8 with scale factors of 128x128 blocks -> the dimensions of the weight's rows and
#: columns.
_FP8_WEIGHTS: Mapping[str, tuple[str, str]] = {
    "fp8_gemm_nt": ("n", "k"),
    "m_grouped_fp8_gemm_nt_contiguous": ("n", "k"),
    "m_grouped_fp8_gemm_nt_masked": ("n", "k"),
}
_EINSUM_WEIGHTS: Mapping[str, tuple[str, str]] = {"fp8_einsum_bhr_hdr_bhd": ("d", "r")}
_FP4_WEIGHTS: Mapping[str, tuple[str, str]] = {
    "m_grouped_fp8_fp4_gemm_nt_contiguous": ("n", "k"),
    "m_grouped_fp8_fp4_gemm_nt_masked": ("n", "k"),
}
PACK = "get_mn_major_tma_aligned_packed_ue8m0_tensor"
TRANSFORM = "transform_sf_into_required_layout"


@frozen
class Weight:
    """Rows and columns of a weight on one rank, and the label of its layer."""

    rows: int
    columns: int
    label: str


def fp8_weights(sites: Sequence[CallSite]) -> Iterator[Weight]:
    """The FP8 weights that go to DeepGEMM."""
    return _weights(sites, _FP8_WEIGHTS)


def einsum_weights(sites: Sequence[CallSite]) -> Iterator[Weight]:
    """The FP8 weights of einsums that go to DeepGEMM."""
    return _weights(sites, _EINSUM_WEIGHTS)


def fp4_weights(sites: Sequence[CallSite]) -> Iterator[Weight]:
    """The FP4 weights that go to DeepGEMM."""
    return _weights(sites, _FP4_WEIGHTS)


def mega_weights(sites: Sequence[CallSite]) -> Iterator[Weight]:
    """The FP4 weights of both layers of a mega MoE."""
    for site in sites:
        if site.verdict is LayerVerdict.DEEP_GEMM and site.kernel_type == "fp8_fp4_mega_moe":
            hidden, intermediate = site.shape["hidden"], site.shape["intermediate"]
            assert isinstance(hidden, int) and isinstance(intermediate, int), "sizes of weights are numbers"
            yield Weight(2 * intermediate, hidden, f"{site.label} w13")
            yield Weight(hidden, intermediate, f"{site.label} w2")


def _weights(sites: Sequence[CallSite], kinds: Mapping[str, tuple[str, str]]) -> Iterator[Weight]:
    for site in sites:
        if site.verdict is LayerVerdict.DEEP_GEMM and site.kernel_type in kinds:
            rows, columns = (site.shape[name] for name in kinds[site.kernel_type])
            assert isinstance(rows, int) and isinstance(columns, int), "sizes of weights are numbers"
            yield Weight(rows, columns, site.label)


def packed(weights: Iterable[Weight], source: str) -> Iterator[CallSite]:
    """Calls that pack the scale factors of weights: a kernel for each number of scale factors in a row."""
    for columns, group in _by_columns(weights).items():
        count = -(-columns // 128)
        yield _site(
            PACK, {"columns": count}, f"columns = ceil(k / 128) = ceil({columns} / 128) = {count}", group, source
        )


def transformed(
    weights: Iterable[Weight], rows_per_scale: int, columns_per_scale: int, source: str
) -> Iterator[CallSite]:
    """Calls that bring the scale factors of weights into the layout of the GPU: a kernel for each k."""
    for columns, group in _by_columns(weights).items():
        shape = {"k": columns, "rows_per_scale": rows_per_scale, "columns_per_scale": columns_per_scale}
        yield _site(TRANSFORM, shape, f"k = {columns}", group, source)


def _by_columns(weights: Iterable[Weight]) -> dict[int, list[Weight]]:
    found: dict[int, list[Weight]] = {}
    for weight in weights:
        found.setdefault(weight.columns, []).append(weight)
    return found


def _site(kernel_type: str, shape: Mapping[str, Value], formula: str, group: list[Weight], source: str) -> CallSite:
    rows = sorted({weight.rows for weight in group})
    labels = ", ".join(dict.fromkeys(weight.label for weight in group))
    step = math.gcd(*rows) if len(rows) > 1 else 1
    return CallSite(
        f"weight scales, k = {group[0].columns}",
        "scale factors of weights, while they load",
        kernel_type,
        shape,
        formula,
        LayerVerdict.DEEP_GEMM,
        source,
        Rows(rows[-1], f"rows of {labels}", rows[0], step),
    )
