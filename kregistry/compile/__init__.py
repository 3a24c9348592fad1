"""Compile what is missing from the store, in parallel, and fill DeepGEMM's JIT cache.

The values of a build are imported here; the pipeline is not, since a server's warm start builds nothing.
"""

from kregistry.compile.build_report import BuildReport
from kregistry.events.compiled import BrokenKernel, BrokenRange, CompiledKernel, FailedKernel

__all__ = ["BrokenKernel", "BrokenRange", "BuildReport", "CompiledKernel", "FailedKernel"]
