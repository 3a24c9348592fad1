"""Kernels that transpose the scale factors of activations for the masked layout of experts on Hopper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kregistry.hf_config.call_site import CallSite, LayerVerdict, Rows

TRANSPOSE = "get_mn_major_tma_aligned_tensor"
_MASKED = "m_grouped_fp8_gemm_nt_masked"


def transposed(sites: Sequence[CallSite], weight: str, rows: Rows, source: str) -> Iterator[CallSite]:
    """Calls before the masked product with a weight: a kernel for each number of scale factors in a row.

    Args:
        sites: the calls of the model.
        weight: ``w13`` or ``w2``.
        rows: the rows of the tensor of scale factors in one group.
        source: the function of the engine.
    """
    found = {}
    for site in sites:
        if site.verdict is LayerVerdict.DEEP_GEMM and site.kernel_type == _MASKED and weight in site.label.split():
            found[site.shape["k"]] = site
    for k, site in found.items():
        assert isinstance(k, int), "sizes of weights are numbers"
        columns = -(-k // 128)
        yield CallSite(
            f"scales, k = {k}",
            f"scale factors of the input of {site.label}",
            TRANSPOSE,
            {"columns": columns},
            f"columns = ceil(k / 128) = ceil({k} / 128) = {columns}",
            LayerVerdict.DEEP_GEMM,
            source,
            rows,
        )
