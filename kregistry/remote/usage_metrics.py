"""The counts beside a store in the text format of Prometheus."""

from __future__ import annotations

from kregistry.errors import MissingRequirement
from kregistry.remote.tier_use import COUNTS
from kregistry.remote.usage import Usage
from kregistry.store.contents import Contents

_ABOUT = {
    "hits": "Objects that a remote had",
    "misses": "Objects that a remote did not have",
    "written": "Objects that were written to a remote",
    "wrong": "Objects of a remote whose content was not what their name says",
    "not_taken": "Objects of a remote that were refused because of their signature",
    "errors": "Requests to a remote that failed",
    "bytes_read": "Bytes of objects that were read",
    "bytes_written": "Bytes of objects that were written",
}


def prometheus_text(usage: Usage, contents: Contents) -> str:
    """Counters of each remote with the label ``remote``, counters of the builds, and gauges of the store.

    Raises:
        MissingRequirement: prometheus-client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    except ImportError:
        raise MissingRequirement("prometheus-client is not installed", "pip install prometheus-client") from None

    class Counts:
        def collect(self) -> list[object]:
            families: list[object] = []
            for count in (*COUNTS, "seconds"):
                about = _ABOUT.get(count, "Seconds of all requests, added up")
                family = CounterMetricFamily(f"kregistry_remote_{count}", about, labels=["remote"])
                for name, use in sorted(usage.tiers.items()):
                    family.add_metric([name], getattr(use, count))
                families.append(family)
            for name, about, value in (
                ("kregistry_kernels_found", "Kernels that the store had", usage.found),
                ("kregistry_kernels_missed", "Kernels that the store did not have", usage.missed),
                ("kregistry_kernels_compiled", "Kernels that were compiled", usage.compiled),
                ("kregistry_compile_seconds", "Seconds of compilers, added up", usage.compile_seconds),
            ):
                families.append(CounterMetricFamily(name, about, value=value))
            families.append(GaugeMetricFamily("kregistry_store_kernels", "Kernels in the store", contents.kernels))
            families.append(GaugeMetricFamily("kregistry_store_bytes", "Bytes of their cubins", contents.nbytes))
            return families

    registry = CollectorRegistry()
    registry.register(Counts())
    text: str = generate_latest(registry).decode()
    return text
