"""The table of environment variables that decide a kernel, its name, or where it is looked for.

Each row says what kregistry does with one variable, on each series of DeepGEMM. Tests and docs/environment.md are made
from this table. tests/deep_gemm/test_variables_read.py fails where a new DeepGEMM reads a name that is missing here.
"""

from __future__ import annotations

import enum

from attrs import frozen


class Series(enum.Enum):
    """A series of DeepGEMM: its versions read the same variables."""

    #: 0.1, and the copies in engines that derive from it.
    ONE = "0.1"
    #: 0.2.
    TWO = "0.2"


class Handling(enum.Enum):
    """What kregistry does with a variable."""

    #: It changes kernels or their names: passed on to the dry run, and part of the plan's fingerprint.
    PLANNED = "planned"
    #: It changes no kernel and no name: not inherited by the dry run.
    NEUTRAL = "neutral"
    #: It chooses the compiler, whose version is in the key of every kernel.
    COMPILER = "compiler"
    #: nvcc reads flags from it: they become flags of the kernel's command, which is in its key.
    IN_KEY = "in the key"
    #: It chooses the host compiler, which does not decide device code: passed on to nvcc, and not in the key.
    HOST_COMPILER = "host compiler"
    #: It would change nvcc's code: taken out of nvcc's environment, with one warning.
    REMOVED = "removed"
    #: Kernels under it cannot be planned or built: exit 3, with what to unset. A value that says no is accepted.
    REFUSED = "refused"
    #: It decides where kernels are looked for.
    LOCATION = "location"
    #: This series does not read it.
    UNREAD = "not read"


@frozen
class Variable:
    """One environment variable.

    Attributes:
        name: of the variable.
        series_1: what it means with DeepGEMM 0.1.
        series_2: what it means with DeepGEMM 0.2.
        about: what it does, as a clause.
        example: a value that tests set; empty where a test has to choose one.
        number: whether DeepGEMM reads a whole number from it. From another value, 0.1 takes whatever its memory held,
            and from an empty one, 0.2 ends the call with an error.
    """

    name: str
    series_1: Handling
    series_2: Handling
    about: str
    example: str = "1"
    number: bool = False

    def handling(self, series: Series) -> Handling:
        return self.series_1 if series is Series.ONE else self.series_2


_P, _N, _C, _R, _L, _U = (
    Handling.PLANNED,
    Handling.NEUTRAL,
    Handling.COMPILER,
    Handling.REFUSED,
    Handling.LOCATION,
    Handling.UNREAD,
)


def _jit(name: str, series_1: Handling, series_2: Handling, about: str, example: str = "1") -> tuple[Variable, ...]:
    """A setting of the JIT: 0.2 reads it under ``DG_`` and, if that is not set, under ``DJ_``."""
    number = bool(example)
    return (
        Variable(f"DG_{name}", series_1, series_2, about, example, number),
        Variable(f"DJ_{name}", _U, series_2, f"as DG_{name}, if that is not set", example, number),
    )


def _everywhere(
    handling: Handling, about: str, *names: str, example: str = "1", number: bool = False
) -> tuple[Variable, ...]:
    return tuple(Variable(name, handling, handling, about, example, number) for name in names)


DEEP_GEMM: tuple[Variable, ...] = (
    *_jit("JIT_CACHE_DIR", _L, _L, "the JIT cache", ""),
    *_jit("JIT_NVCC_COMPILER", _C, _C, "path of nvcc", ""),
    *_jit("JIT_CPP_STANDARD", _P, _P, "the C++ standard of nvcc", "23"),
    *_jit("JIT_WITH_LINEINFO", _P, _P, "line numbers in the machine code"),
    *_jit("JIT_PTXAS_VERBOSE", _P, _P, "ptxas prints resources"),
    *_jit("JIT_CHECK_NO_SPILLS", _U, _P, "ptxas reports spilled registers"),
    *_jit("JIT_CHECK_NO_LOCAL_MEMORY", _U, _P, "ptxas reports local memory"),
    *_jit("JIT_DEBUG", _P, _R, "prints; 0.2 also dumps each kernel, which needs its machine code"),
    *_jit("JIT_DUMP_ASM", _N, _N, "writes PTX and SASS of each kernel that it compiles"),
    *_jit("JIT_DUMP_PTX", _N, _N, "writes PTX of each kernel that it compiles"),
    *_jit("JIT_DUMP_SASS", _N, _N, "writes SASS of each kernel that it compiles"),
    *_jit("JIT_PRINT_COMPILER_COMMAND", _N, _N, "prints the compiler's command"),
    *_jit("JIT_PRINT_LOAD_TIME", _N, _N, "prints how long a load takes"),
    Variable("DG_JIT_PTXAS_CHECK", _P, _U, "fails if a kernel uses local memory", number=True),
    Variable("DG_JIT_USE_NVRTC", _R, _U, "compiles with NVRTC instead of nvcc, which makes other code"),
    Variable("DG_JIT_USE_RUNTIME_API", _N, _N, "read where DeepGEMM itself is built"),
    *_everywhere(_N, "prints the configuration of each call", "DG_PRINT_CONFIGS", number=True),
    *_everywhere(_N, "cuBLASLt runs with torch's handle", "DG_USE_PYTORCH_CUBLASLT_HANDLE", number=True),
    *_everywhere(_N, "cuBLASLt allocates its workspace for each call", "DG_USE_TEMP_CUBLASLT_WORKSPACE", number=True),
    *_everywhere(_N, "tools for DeepGEMM's own benchmarks", "DG_USE_NVIDIA_TOOLS"),
    *_everywhere(_P, "mega MoE clears its buffers at each call", "DG_COMM_KERNEL_DEBUG", number=True),
    *_everywhere(_P, "operands of FP8 GEMMs are swapped on Hopper", "DG_SM90_FP8_SWAP_AB", example="0", number=True),
    *_everywhere(_P, "mega MoE combines in FP8", "DG_USE_FP8_COMBINE", number=True),
    *_everywhere(_P, "mega MoE takes FP4 activations", "DG_USE_FP4_ACTS", number=True),
    *_everywhere(_P, "mega MoE uses MXF4 instructions", "DG_USE_MXF4_KIND", number=True),
    Variable("DG_MEGA_MOE_TILES", _U, _P, "tile sizes of mega MoE", "2,240,40,128,2"),
    Variable("DG_SM90_TRACE_PTR", _U, _P, "mega MoE writes a trace to this address (DeepGEMM 0.2.5)", "0"),
    Variable("DG_SM90_TRACE_EPI", _U, _P, "that trace has the steps of the epilogue (DeepGEMM 0.2.5)"),
)

#: Chooses the toolkit, and with it the headers and, unless another variable names it, the compiler.
TOOLKIT: tuple[Variable, ...] = (
    *_everywhere(_C, "the CUDA toolkit", "CUDA_HOME", "CUDA_PATH", example=""),
    *_everywhere(_C, "nvcc is looked up there if no variable names a toolkit", "PATH", example=""),
)

#: What nvcc, and the host compiler that preprocesses for it, read besides their arguments.
NVCC: tuple[Variable, ...] = (
    *_everywhere(
        Handling.IN_KEY,
        "arguments of nvcc; those that only choose the host compiler are not in the key",
        "NVCC_PREPEND_FLAGS",
        "NVCC_APPEND_FLAGS",
        example="-lineinfo",
    ),
    *_everywhere(Handling.HOST_COMPILER, "the host compiler", "NVCC_CCBIN", "compiler-bindir", example="/usr/bin/gcc"),
    *_everywhere(
        Handling.HOST_COMPILER, "where the host compiler finds its programs", "COMPILER_PATH", example="/usr/bin"
    ),
    *_everywhere(
        Handling.HOST_COMPILER, "where the host compiler finds its programs", "GCC_EXEC_PREFIX", example="/usr/lib/gcc/"
    ),
    *_everywhere(
        Handling.REMOVED,
        "directories in which the host compiler looks for headers",
        "CPATH",
        "C_INCLUDE_PATH",
        "CPLUS_INCLUDE_PATH",
        example="/usr/include",
    ),
    *_everywhere(
        Handling.REMOVED,
        "nvcc.profile adds to it, and so passes it on to a step of nvcc",
        "INCLUDES",
        "SYSTEM_INCLUDES",
        "LIBRARIES",
        "CUDAFE_FLAGS",
        "PTXAS_FLAGS",
        "NVVM_FLAGS",
        "OCG_FLAGS",
        "LLVMC_FLAGS",
        "LLVMDIS_FLAGS",
        "NVASM_FLAGS",
        "NVDISASM_FLAGS",
        "NVLINK_FLAGS",
        example="-lineinfo",
    ),
    *_everywhere(
        Handling.REMOVED,
        "a step of nvcc, or a file that it reads, is looked for there unless nvcc.profile says where",
        "CICC_PATH",
        "NVVMIR_LIBRARY_DIR",
        "EDG_BASE",
        "EDG_MODULES_PATH",
        "USR_INCLUDE",
        example="/nowhere",
    ),
    *_everywhere(
        Handling.REMOVED,
        "a step of nvcc reads it, and what it does there is not documented",
        "NV_NVVM_VERSION",
        "NVVMCCWIZ",
        "NVVM_IR_VER_CHK",
        "LIBNVVM_DISABLE_CONCURRENT_API",
        "LLVM_OVERRIDE_PRODUCER",
        "DUMP_KNOBS_TO_FILE",
        "CAN_FINALIZE_DEBUG",
        "GCC_COMPARE_DEBUG",
    ),
    *_everywhere(
        Handling.REMOVED,
        "the host compiler writes a file of dependencies, or changes its own arguments",
        "DEPENDENCIES_OUTPUT",
        "SUNPRO_DEPENDENCIES",
        "CCC_OVERRIDE_OPTIONS",
        example="/dev/null",
    ),
)

#: Where DeepGEMM and the engines keep kernels, and what they set for DeepGEMM.
PLACES: tuple[Variable, ...] = (
    *_everywhere(_L, "the default of the JIT cache is below it", "HOME", example=""),
    *_everywhere(_L, "SGLang: the JIT cache", "SGLANG_DG_CACHE_DIR", example=""),
    *_everywhere(_L, "SGLang: the default of its JIT cache is below it", "SGLANG_CACHE_DIR", example=""),
    *_everywhere(_L, "vLLM: the default of its JIT cache is below it", "VLLM_CACHE_ROOT", example=""),
    *_everywhere(_L, "vLLM: the default of VLLM_CACHE_ROOT is below it", "XDG_CACHE_HOME", example=""),
    Variable("SGLANG_DG_USE_NVRTC", _R, _U, "SGLang sets DG_JIT_USE_NVRTC to it", "true"),
    Variable("SGL_DG_USE_NVRTC", _R, _U, "older versions of SGLang set DG_JIT_USE_NVRTC to it"),
)

#: Every row.
VARIABLES: tuple[Variable, ...] = (*DEEP_GEMM, *TOOLKIT, *NVCC, *PLACES)
BY_NAME = {variable.name: variable for variable in VARIABLES}
