"""Indexer logits of DeepSeek sparse attention: for contiguous keys and for a paged cache, with their schedules."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry import KernelType, hookimpl


@hookimpl
def kregistry_kernel_types() -> Iterable[KernelType]:
    from kregistry_plugins.mqa_logits.contiguous import Fp8MqaLogits
    from kregistry_plugins.mqa_logits.contiguous_mixed import Fp8Fp4MqaLogits, Mxfp8MqaLogits
    from kregistry_plugins.mqa_logits.contiguous_schedule import GetMqaLogitsMetadata
    from kregistry_plugins.mqa_logits.contiguous_scheduled import ScheduledMqaLogits
    from kregistry_plugins.mqa_logits.metadata import GetPagedMqaLogitsMetadata
    from kregistry_plugins.mqa_logits.paged import Fp8PagedMqaLogits
    from kregistry_plugins.mqa_logits.paged_mixed import Fp8Fp4PagedMqaLogits, Mxfp8PagedMqaLogits
    from kregistry_plugins.mqa_logits.sparse_contiguous import Fp8Fp4SparseMqaLogits, GetSparseMqaLogitsMetadata
    from kregistry_plugins.mqa_logits.sparse_paged import Fp8Fp4PagedSparseMqaLogits, GetPagedSparseMqaLogitsMetadata

    return [
        Fp8MqaLogits(),
        Fp8Fp4MqaLogits(),
        Mxfp8MqaLogits(),
        GetMqaLogitsMetadata(),
        ScheduledMqaLogits(),
        GetPagedMqaLogitsMetadata(),
        Fp8PagedMqaLogits(),
        Fp8Fp4PagedMqaLogits(),
        Mxfp8PagedMqaLogits(),
        GetSparseMqaLogitsMetadata(),
        Fp8Fp4SparseMqaLogits(),
        GetPagedSparseMqaLogitsMetadata(),
        Fp8Fp4PagedSparseMqaLogits(),
    ]
