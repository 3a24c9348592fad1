"""What deployments set and what broke silently once: for each case its test, and at least two siblings of its class."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_FIELD = "tests/end_to_end/test_field_cases.py"
_VARIABLE = "tests/end_to_end/test_every_variable.py"
_ARGUMENT = "tests/end_to_end/test_every_argument.py"
_SERVING = "tests/serving/test_optional_arguments.py"
_READ_ONLY = "tests/end_to_end/test_read_only.py"
_INFLUENCES = "tests/cli/test_influences.py"

#: Case -> what it is, its test, and the tests of other inputs of the same class.
CASES: dict[int, tuple[str, str, tuple[str, ...]]] = {
    1: (
        "DG_JIT_NVCC_COMPILER names a compiler of another release",
        f"{_FIELD}::test_case_1_a_compiler_of_another_release",
        (
            f"{_FIELD}::test_case_1_a_compiler_that_is_not_there",
            f"{_VARIABLE}::test_what_is_built_is_what_a_server_looks_for",  # CUDA_HOME, CUDA_PATH, PATH, DJ_...
            "tests/deep_gemm/test_compiler.py::test_a_name_without_directory_is_looked_up_as_a_shell_does",
        ),
    ),
    2: (
        "NVRTC in place of nvcc",
        f"{_FIELD}::test_case_2_the_monitor_does_not_start_where_it_would_see_nothing",
        (
            f"{_VARIABLE}::refused",
            "tests/deep_gemm/test_environment.py::test_a_value_that_says_no_is_accepted",
            "tests/deep_gemm/test_environment.py::test_several_refused_variables_are_one_message",
        ),
    ),
    3: (
        "arguments that nvcc takes from its environment",
        f"{_FIELD}::test_case_3_other_flags_are_other_kernels",
        (
            f"{_FIELD}::test_case_3_a_flag_that_reads_a_file_is_refused",
            "tests/deep_gemm/test_nvcc_flags.py::test_what_cannot_be_in_a_key_is_refused",
            "tests/deep_gemm/test_variables_read.py::test_every_variable_that_the_compiler_reads_is_known",
            "tests/deep_gemm/test_compiler.py::test_what_a_changed_profile_adds",
        ),
    ),
    4: (
        "compiled_dims",
        f"{_SERVING}::test_case_4_compiled_dims_is_recorded_and_not_covered_by_another",
        (
            f"{_SERVING}::test_a_call_that_no_kernel_type_knows_is_refused_or_said",
            f"{_ARGUMENT}::test_what_is_read_is_built_and_what_is_not_read_is_refused",
        ),
    ),
    5: (
        "a process-wide setter",
        f"{_SERVING}::test_case_5_a_setter_without_a_getter_is_recorded",
        (
            f"{_ARGUMENT}::test_every_setter_is_known",
            f"{_ARGUMENT}::test_what_is_read_is_built_and_what_is_not_read_is_refused",
            "tests/deep_gemm/test_setters.py::test_what_is_set_is_remembered_and_still_set",
        ),
    ),
    6: (
        "a complete store that cannot be written",
        f"{_READ_ONLY}::test_case_6_a_complete_store_is_used_as_it_is",
        (
            f"{_READ_ONLY}::test_an_incomplete_store_names_what_is_missing",
            f"{_READ_ONLY}::test_a_server_as_another_user_starts_warm",
            f"{_READ_ONLY}::test_a_jit_cache_without_the_kernel_is_named",
        ),
    ),
    7: (
        "a compiler that is too old, or does not know the target",
        f"{_FIELD}::test_case_7_a_compiler_that_is_too_old",
        (
            f"{_FIELD}::test_case_7_a_compiler_that_does_not_know_the_target",
            f"{_FIELD}::test_case_7_a_compiler_that_says_so_itself",
            "tests/deep_gemm/test_compiler.py::test_each_series_of_deep_gemm_has_its_oldest_compiler",
            "tests/deep_gemm/test_compiler.py::test_a_compiler_that_would_fail_with_every_source",
        ),
    ),
    8: (
        "no toolkit but the wheels'",
        f"{_INFLUENCES}::test_case_8_what_a_server_without_the_plugin_needs",
        (
            f"{_INFLUENCES}::test_a_server_finds_a_toolkit_on_its_path_by_itself",
            f"{_INFLUENCES}::test_a_server_needs_the_variable_that_names_a_compiler",
            f"{_FIELD}::test_a_server_that_finds_no_toolkit_dies_and_starts_with_what_doctor_says",
        ),
    ),
    9: (
        "the monitor and DJ_JIT_NVCC_COMPILER",
        f"{_FIELD}::test_case_9_the_monitor_keeps_the_compiler_of_the_second_prefix",
        (
            f"{_FIELD}::test_the_monitor_keeps_the_compiler_of_the_first_prefix_where_both_name_one",
            f"{_FIELD}::test_the_monitor_does_not_read_a_prefix_that_its_series_does_not_read",
        ),
    ),
    10: (
        "a distribution whose metadata lacks entry points",
        "tests/test_registry.py::test_case_10_a_distribution_whose_metadata_lacks_entry_points_is_named",
        (
            "tests/test_registry.py::test_a_requirement_of_kregistry_is_told_from_others",
            "tests/cli/test_doctor_command.py::test_a_distribution_whose_metadata_names_no_plugin_is_named",
        ),
    ),
    11: (
        "mega MoE with two SMs fewer",
        "tests/plugins/test_mega.py::test_case_11_two_sms_fewer_are_other_kernels",
        (
            "tests/plugins/test_mega.py::test_two_sms_fewer_are_other_kernels_on_other_devices_and_of_other_types",
            "tests/plugins/test_settings.py::test_other_numbers_of_sms_have_other_kernels",
            "tests/hf_config/test_settings.py::test_mega_moe_of_blackwell",
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_case_has_a_test_of_its_name_and_two_siblings(case: int) -> None:
    _, test, siblings = CASES[case]
    assert f"::test_case_{case}_" in test
    assert len({*siblings}) == len(siblings) >= 2 and test not in siblings
    assert [each for each in (test, *siblings) if not exists(each)] == []


def test_every_case_is_listed() -> None:
    assert sorted(CASES) == list(range(1, 12))


def exists(node: str) -> bool:
    file, _, name = node.partition("::")
    return name in functions(ROOT / file)


@cache
def functions(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text())
    return frozenset(each.name for each in tree.body if isinstance(each, ast.FunctionDef))
