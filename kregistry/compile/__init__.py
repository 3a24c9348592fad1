"""Compile what is missing from the store, in parallel, and fill DeepGEMM's JIT cache."""

from kregistry.compile.build_report import BuildReport
from kregistry.compile.plan_and_build import build_kernels
from kregistry.events.compiled import BrokenKernel, BrokenRange, CompiledKernel, FailedKernel

__all__ = ["BrokenKernel", "BrokenRange", "BuildReport", "CompiledKernel", "FailedKernel", "build_kernels"]
