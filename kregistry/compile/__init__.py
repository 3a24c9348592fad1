"""Compile what the store is missing, in parallel, and fill DeepGEMM's JIT cache."""

from kregistry.compile.broken_calls import BrokenKernel, BrokenRange
from kregistry.compile.build_report import BuildReport, CompiledKernel
from kregistry.compile.pipeline import build_kernels
from kregistry.store.failures import FailedKernel

__all__ = ["BrokenKernel", "BrokenRange", "BuildReport", "CompiledKernel", "FailedKernel", "build_kernels"]
