"""The store of compiled kernels: content-addressed, relocatable, and safe for concurrent processes."""

from kregistry.store.store import Store

__all__ = ["Store"]
