"""What an environment does to kernels: every row of the table has a handling, and the handlings are kept."""

from __future__ import annotations

from collections import Counter

import pytest

from kregistry.deep_gemm.environment import NVRTC, check_environment, for_dry_run, planned, present, removed, unknown
from kregistry.deep_gemm.nvcc_flags import for_nvcc
from kregistry.deep_gemm.variables import BY_NAME, VARIABLES, Handling, Series
from kregistry.errors import MissingRequirement

ONE, TWO = Series.ONE, Series.TWO
ROWS = pytest.mark.parametrize("name", BY_NAME)


def test_no_name_is_twice_in_the_table() -> None:
    assert [name for name, count in Counter(each.name for each in VARIABLES).items() if count > 1] == []


@ROWS
def test_a_row_has_an_outcome_and_says_what_it_is(name: str) -> None:
    variable = BY_NAME[name]
    assert isinstance(variable.series_1, Handling) and isinstance(variable.series_2, Handling)
    assert {variable.series_1, variable.series_2} != {Handling.UNREAD}
    assert (variable.about and variable.about[0] != variable.about[0].swapcase()) or variable.about[0].isdigit()
    if variable.series_1 in (Handling.REMOVED, Handling.IN_KEY):
        assert variable.series_2 is variable.series_1  # nvcc does not know which DeepGEMM calls it


@ROWS
@pytest.mark.parametrize("series", Series)
def test_a_dry_run_inherits_what_is_planned_and_no_more(name: str, series: Series) -> None:
    variable, environment = BY_NAME[name], {name: BY_NAME[name].example, "OTHER": "x"}
    handling = variable.handling(series)
    inherited = for_dry_run(environment)
    assert inherited["OTHER"] == "x"
    if handling is Handling.PLANNED:
        assert name in inherited and name in planned(environment, series)
    if handling is Handling.NEUTRAL:
        assert name not in inherited and name not in planned(environment, series)


@ROWS
def test_nvcc_sees_nothing_that_changes_its_code(name: str) -> None:
    variable = BY_NAME[name]
    environment = {name: variable.example or "x"}
    gone = variable.series_1 in (Handling.REMOVED, Handling.IN_KEY)
    assert (name in for_nvcc(environment)) is not gone
    assert removed(environment) == ([name] if variable.series_1 is Handling.REMOVED else [])


@ROWS
@pytest.mark.parametrize("series", Series)
def test_what_is_refused_is_named_with_what_to_unset(name: str, series: Series) -> None:
    variable, environment = BY_NAME[name], {name: BY_NAME[name].example}
    if variable.handling(series) is not Handling.REFUSED:
        return check_environment(environment, series)
    with pytest.raises(MissingRequirement) as caught:
        check_environment(environment, series)
    assert caught.value.message.startswith(f"{name}={variable.example}: kernels under this setting cannot be planned")
    assert (caught.value.hint, caught.value.exit_code) == (f"unset {name}", 3)
    check_environment({name: "0"}, series)


@pytest.mark.parametrize(
    ("environment", "refused"),
    [
        ({"DG_JIT_USE_NVRTC": "0"}, False),
        ({"DG_JIT_USE_NVRTC": " 00"}, False),
        ({"DG_JIT_USE_NVRTC": ""}, True),  # DeepGEMM 0.1.4.post1 takes it for yes
        ({"DG_JIT_USE_NVRTC": "false"}, True),  # and so it does with a word
        ({"DG_JIT_USE_NVRTC": "01"}, True),
        ({"SGLANG_DG_USE_NVRTC": "False"}, False),
        ({"SGLANG_DG_USE_NVRTC": "yes"}, True),
        ({"SGL_DG_USE_NVRTC": ""}, False),
    ],
)
def test_a_value_that_says_no_is_accepted(environment: dict[str, str], refused: bool) -> None:
    if refused:
        with pytest.raises(MissingRequirement):
            check_environment(environment, ONE)
    check_environment(environment, TWO)  # 0.2 has no NVRTC
    if not refused:
        check_environment(environment, ONE)


@pytest.mark.parametrize("value", ["", " ", "yes", "x1"])
@pytest.mark.parametrize("name", [name for name, variable in BY_NAME.items() if variable.number])
def test_what_is_no_number_is_refused_where_deep_gemm_reads_one(name: str, value: str) -> None:
    """0.1.4.post1 asked nvcc for -std=c++32738 where DG_JIT_CPP_STANDARD was empty, and for another one next time."""
    for series in Series:
        handling = BY_NAME[name].handling(series)
        bad = handling is Handling.PLANNED if series is ONE else not value.strip()
        if handling in (Handling.REFUSED, Handling.UNREAD):
            continue
        if not bad:
            check_environment({name: value}, series)
            continue
        with pytest.raises(MissingRequirement, match=f"{name}={value}: expected a whole number; DeepGEMM") as caught:
            check_environment({name: value}, series)
        assert (caught.value.exit_code, caught.value.hint) == (3, f"unset {name}, or set it to a number")
        for good in ("0", "1", " 1", "-1"):
            check_environment({name: good}, series)


def test_several_refused_variables_are_one_message() -> None:
    with pytest.raises(MissingRequirement) as caught:
        check_environment({"DG_JIT_USE_NVRTC": "1", "SGLANG_DG_USE_NVRTC": "1"}, ONE)
    assert caught.value.hint == "unset DG_JIT_USE_NVRTC SGLANG_DG_USE_NVRTC"


def test_a_monitor_looks_at_nvrtc_only() -> None:
    check_environment({"DG_JIT_DEBUG": "1"}, TWO, only=NVRTC)
    with pytest.raises(MissingRequirement, match="DG_JIT_DEBUG"):
        check_environment({"DG_JIT_DEBUG": "1"}, TWO)


def test_the_second_prefix_counts_if_the_first_is_not_set() -> None:
    environment = {"DG_JIT_CPP_STANDARD": "", "DJ_JIT_CPP_STANDARD": "23", "DJ_JIT_WITH_LINEINFO": "1"}
    assert planned(environment, TWO) == {"DG_JIT_CPP_STANDARD": "", "DJ_JIT_WITH_LINEINFO": "1"}
    assert planned(environment, ONE) == {"DG_JIT_CPP_STANDARD": ""}
    assert [variable.name for variable, _ in present(environment, ONE)] == ["DG_JIT_CPP_STANDARD"]


def test_a_variable_that_is_not_in_the_table_is_planned() -> None:
    environment = {"DG_NEW_IN_THE_NEXT_VERSION": "1", "DGX": "1"}
    assert unknown(environment) == ["DG_NEW_IN_THE_NEXT_VERSION"]
    assert planned(environment, ONE) == planned(environment, TWO) == {"DG_NEW_IN_THE_NEXT_VERSION": "1"}
    assert for_dry_run(environment) == environment
