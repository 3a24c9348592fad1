"""Compile what is missing from the store, in parallel, and fill DeepGEMM's JIT cache."""

from kregistry.compile.broken_calls import BrokenKernel, BrokenRange
from kregistry.compile.build_report import BuildReport, CompiledKernel
from kregistry.compile.plan_and_build import build_kernels
from kregistry.store.failures import FailedKernel

__all__ = ["BrokenKernel", "BrokenRange", "BuildReport", "CompiledKernel", "FailedKernel", "build_kernels"]
