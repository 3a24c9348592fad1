"""Our own store of compiled kernels: content-addressed, relocatable, safe against other processes."""

from kregistry.store.store import Store

__all__ = ["Store"]
