"""Where kernels are kept: our store, and DeepGEMM's JIT cache."""

from kregistry.cache.jit_cache import JitCache
from kregistry.cache.store import Store
from kregistry.cache.verify import Fault, Verification, verify_kernels

__all__ = ["Fault", "JitCache", "Store", "Verification", "verify_kernels"]
