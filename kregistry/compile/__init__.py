"""Compile what the store is missing, in parallel, and fill DeepGEMM's JIT cache."""

from kregistry.compile.build_report import BuildReport
from kregistry.compile.pipeline import build_kernels
from kregistry.events.compiled import BrokenKernel, BrokenRange, CompiledKernel, FailedKernel

__all__ = ["BrokenKernel", "BrokenRange", "BuildReport", "CompiledKernel", "FailedKernel", "build_kernels"]
