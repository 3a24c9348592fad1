"""Regular expressions of a checkpoint: those in use are accepted, and those that could take years are refused."""

from __future__ import annotations

import pytest

from kregistry.hf_config.bounded_regex import MAX_TEXT, compile_bounded

USED = [
    r".*mlp\.gate$",
    ".*self_attn.*",
    r".*\.(q|k|v|o)_proj.*",
    r"model\.layers\.(0|1|2|3)\..*",
    ".*layers.*mlp.*gate.*",
    "(?:.*lm_head)",
    "^(?!.*experts).*$",
    "(?i)VISUAL.*",
    r"[a-z]+\d{1,3}",
]


@pytest.mark.parametrize("pattern", USED)
def test_what_checkpoints_use(pattern: str) -> None:
    compile_bounded(pattern).match("model.layers.10.mlp.gate" + "a" * (MAX_TEXT - 24))


SLOW = [
    "(.|.|.)*!", "(a+)+$", "(a*)*b", "((a|b)*)*c", "(a|a)*b", "a?" * 30 + "a" * 30, "(a|a)" * 30 + "b", ".*" * 8 + "b",
    "(a{1,99}){99}", "(?:(?:a?){9}){9}", "(x+x+)+y", r"(\w+\s?)*$", "([^/]+)*/", "a" * 1001,
]  # fmt: skip


@pytest.mark.parametrize("pattern", SLOW)
def test_what_could_take_years(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"could take very long|is longer than"):
        compile_bounded(pattern)


@pytest.mark.parametrize("pattern", ["[", "(", "a{2}{3}", "*", r"\8", "(?P<a>x)(?P<a>y)"])
def test_what_is_none(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        compile_bounded(pattern)
