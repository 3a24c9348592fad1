"""The process-wide settings of DeepGEMM that are known."""

from __future__ import annotations

from typing import Any

from kregistry.kernel_type import Setting
from kregistry.target import Target


def _all_sms(target: Target) -> int:
    return target.num_sms


NUM_SMS = Setting(
    "num_sms",
    "SMs that a launch may use: deep_gemm.set_num_sms(), for engines that share the GPU between two batches",
    get="get_num_sms",
    set="set_num_sms",
    default=_all_sms,
    unit="SMs",
    minimum=2,
    multiple_of=2,
    maximum=_all_sms,
)
MK_ALIGNMENT = Setting(
    "mk_alignment",
    "rows that each group is aligned to: deep_gemm.set_mk_alignment_for_contiguous_layout()",
    get="get_mk_alignment_for_contiguous_layout",
    set="set_mk_alignment_for_contiguous_layout",
    default=128,
    unit="rows",
    minimum=32,
    multiple_of=32,
)
DETERMINISTIC = Setting(
    "deterministic",
    "deep_gemm.use_deterministic_algorithms(True): JIT kernels in place of cuBLASLt (DeepGEMM 0.2)",
    get="get_deterministic_algorithms",
    set="use_deterministic_algorithms",
    default=False,
)


def _pair(text: Any) -> tuple[int, ...]:
    return tuple(map(int, text.split("x")))


def _words(argument: Any) -> str:
    rows, columns = (argument, argument) if isinstance(argument, int) else argument
    return f"{rows}x{columns}"


_MULTIPLES = (1, 16, 32, 64, 128)
BLOCK_SIZE_MULTIPLE_OF = Setting(
    "block_size_multiple_of",
    "rows x columns that tiles are a multiple of: deep_gemm.set_block_size_multiple_of((rows, columns))",
    set="set_block_size_multiple_of",
    default="1x1",
    choices=tuple(f"{rows}x{columns}" for rows in _MULTIPLES for columns in _MULTIPLES),
    to_argument=_pair,
    from_argument=_words,
)
IGNORE_COMPILE_DIMS = Setting(
    "ignore_compile_dims",
    "deep_gemm.set_ignore_compile_dims(True): no dimension is compiled into a kernel, whatever compiled_dims says",
    set="set_ignore_compile_dims",
    default=False,
)
PDL = Setting(
    "pdl",
    "deep_gemm.set_pdl(True): a kernel may start before the one ahead of it has ended (programmatic dependent launch)",
    get="get_pdl",
    set="set_pdl",
    default=False,
    needs_device=True,
)
TC_UTIL = Setting(
    "tc_util",
    "share of the time that tensor cores may be busy: deep_gemm.set_tc_util(percent)",
    get="get_tc_util",
    set="set_tc_util",
    default=100,
    unit="percent",
    maximum=lambda target: 100,
    needs_device=True,
)
#: What the kernel of DeepGEMM's ``bf16_gemm_nt`` depends on besides its sizes.
BF16_GEMM_SETTINGS = (DETERMINISTIC, MK_ALIGNMENT, NUM_SMS, TC_UTIL)
#: Every setting that kernels may depend on. Conformance tries them on kernel types that do not declare them.
KNOWN = (NUM_SMS, MK_ALIGNMENT, DETERMINISTIC, BLOCK_SIZE_MULTIPLE_OF, IGNORE_COMPILE_DIMS, PDL, TC_UTIL)
#: Setters that change no kernel of any kernel type (tests/end_to_end/test_every_argument.py).
HARMLESS_SETTERS: tuple[str, ...] = ()
