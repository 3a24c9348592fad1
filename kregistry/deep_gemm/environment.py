"""Environment variables of DeepGEMM that kregistry reads or sets.

DeepGEMM 0.1 reads names that begin with ``DG_``. DeepGEMM 0.2 reads the ``JIT_*`` settings under two prefixes, ``DG_``
and then ``DJ_``: the first variable that is set counts, even if it is empty. All other names keep ``DG_``. Variables of
the engines (``SGLANG_DG_CACHE_DIR``, ``VLLM_CACHE_ROOT``) are not DeepGEMM's, and are not listed here.
"""

from __future__ import annotations

#: Prefixes of all variables that DeepGEMM reads, in any version.
PREFIXES = ("DG_", "DJ_")

#: The JIT cache, read by 0.1 and 0.2; see :mod:`kregistry.deep_gemm.cache_layout` for how the value is read.
DG_JIT_CACHE_DIR = "DG_JIT_CACHE_DIR"
#: The same, read by 0.2 only, if ``DG_JIT_CACHE_DIR`` is not set.
DJ_JIT_CACHE_DIR = "DJ_JIT_CACHE_DIR"

#: Path of nvcc, read by 0.1 and 0.2 once, when the first kernel is needed; default: ``bin/nvcc`` below CUDA_HOME.
DG_JIT_NVCC_COMPILER = "DG_JIT_NVCC_COMPILER"
#: The same, read by 0.2 only, if ``DG_JIT_NVCC_COMPILER`` is not set.
DJ_JIT_NVCC_COMPILER = "DJ_JIT_NVCC_COMPILER"

#: ``1``: cuBLASLt is called with the handle that torch holds, which needs a real device. Read by 0.1 and 0.2.
DG_USE_PYTORCH_CUBLASLT_HANDLE = "DG_USE_PYTORCH_CUBLASLT_HANDLE"
#: ``1``: each cuBLASLt call allocates its workspace, instead of one that is kept. Read by 0.1 and 0.2.
DG_USE_TEMP_CUBLASLT_WORKSPACE = "DG_USE_TEMP_CUBLASLT_WORKSPACE"

#: Where kernels are kept.
CACHE_DIRECTORIES = (DG_JIT_CACHE_DIR, DJ_JIT_CACHE_DIR)
#: Variables that name paths only: they change neither which kernels DeepGEMM needs nor what it calls them.
PATHS_ONLY = (*CACHE_DIRECTORIES, DG_JIT_NVCC_COMPILER, DJ_JIT_NVCC_COMPILER)
