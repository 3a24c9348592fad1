"""Prometheus metrics, kept by a listener of a registry's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kregistry.errors import MissingRequirement
from kregistry.hookspecs import hookimpl

if TYPE_CHECKING:
    from kregistry.events import JitEvent, WarmupOutcome


class PrometheusMetrics:
    """Use as ``registry.listen(PrometheusMetrics())``.

    ============================================  =======  ==================================================
    kregistry_jit_compiles_total                  counter  compiles by ``kernel`` and ``outcome``
    kregistry_jit_compile_seconds_total           counter  seconds that callers waited for the compiler
    kregistry_jit_loads_total                     counter  kernels read from the JIT cache after warm-up
    kregistry_warmup_seconds                      gauge    launches of the last warm-up
    kregistry_kernels_ready                       gauge    kernels that this process holds since then
    ============================================  =======  ==================================================

    Args:
        collector_registry: default: prometheus_client's own.

    Raises:
        MissingRequirement: prometheus-client is not installed.
    """

    def __init__(self, collector_registry: Any = None) -> None:
        try:
            import prometheus_client
        except ImportError:
            raise MissingRequirement("prometheus-client is not installed", "pip install prometheus-client") from None
        options = {"registry": collector_registry or prometheus_client.REGISTRY}
        self._compiles = prometheus_client.Counter(
            "kregistry_jit_compiles", "DeepGEMM compiles", ("kernel", "outcome"), **options
        )
        self._seconds = prometheus_client.Counter(
            "kregistry_jit_compile_seconds", "Seconds that callers waited for DeepGEMM's compiler", **options
        )
        self._loads = prometheus_client.Counter(
            "kregistry_jit_loads", "Kernels read from the JIT cache after warm-up", **options
        )
        self._warmup = prometheus_client.Gauge(
            "kregistry_warmup_seconds", "Seconds of the launches of the last warm-up", **options
        )
        self._ready = prometheus_client.Gauge("kregistry_kernels_ready", "Kernels that this process holds", **options)

    @hookimpl
    def kregistry_jit_compiled(self, event: JitEvent) -> None:
        self._compiles.labels(event.kernel, event.outcome.value).inc()
        self._seconds.inc(event.seconds)

    @hookimpl
    def kregistry_jit_loaded(self) -> None:
        self._loads.inc()

    @hookimpl
    def kregistry_warmup_finished(self, report: WarmupOutcome) -> None:
        self._warmup.set(report.seconds)
        self._ready.set(len(report.loaded))
