"""YAML as plain data: places, duplicate keys, and every way in which a file is no YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.errors import InputError, ManifestError
from kregistry.manifest.document import parse_document, read_document, show_path

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n" for before, name in zip("abcdef", "bcdefg")
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{','.join(['*' + before] * 10)}]}}\n" for before, name in zip("abcdef", "bcdefg")
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version: 1\n  models: {\n", "2:9: not valid YAML: mapping values are not allowed here"),
        ("version: 1\n\tx: 1\n", "2:1: not valid YAML: found character '\\t' that cannot start any token"),
        (
            "version: 1\n<<<<<<< HEAD\ntarget: h100\n=======\ntarget: h200\n>>>>>>> x\n",
            "3:1: not valid YAML: could not find expected ':'\n  hint: a git merge conflict is left in the file",
        ),
        ("a: 1\n---\nb: 1\n", "2:1: not valid YAML: but found another document"),
        (
            "a: 1\0\n",
            "1:1: not valid YAML: unacceptable character #x0000: special characters are not allowed in "
            '"<unicode string>", position 4',
        ),
        (
            "a: !!python/object:os.system {}\n",
            "1:4: not valid YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object:os.system'",
        ),
        ("a: 1\nb: !!int x\n", "2:4: not valid YAML: invalid literal for int() with base 10: 'x'"),
        ("a: 1\nb: 2024-13-01\n", "2:4: not valid YAML: month must be in 1..12"),
        ("a: !!timestamp x\n", "1:4: not valid YAML: not a timestamp"),
        ("a: 1\nb: &x {c: *x}\n", "2:4: not valid YAML: an alias inside its own anchor"),
        ("a: *x\n", "1:4: not valid YAML: found undefined alias 'x'"),
        ("? [a]\n: 1\n", "1:3: not valid YAML: found unhashable key"),
        ("a: " + "[" * 3000, "1:67: not valid YAML: nested too deeply"),
        (BOMB, "1:1: not valid YAML: more than 100000 values after aliases are expanded"),
        (MERGE_BOMB, "1:1: not valid YAML: more than 100000 values after aliases are expanded"),
        ("a: !!bool x\n", "1:4: not valid YAML: not a bool"),
        ('a: !!int ""\n', "1:4: not valid YAML: not a int"),
        ('a: !!float ""\n', "1:4: not valid YAML: not a float"),
        (f"a: 0x{'f' * 4000}\n", "1:4: not valid YAML: an integer beyond 64 bits"),
        (f"a: {'9' * 5000}\n", "1:4: not valid YAML: an integer beyond 64 bits"),
        ("a: 9223372036854775808\n", "1:4: not valid YAML: an integer beyond 64 bits"),
        ('a: "\\0"\n', "1:4: not valid YAML: a text with the control character U+0000"),
        ('"\\e]0;x\\a": 1\n', "1:1: not valid YAML: a text with the control character U+001B"),
        ('a: "\\ud800"\n', "1:4: not valid YAML: a text with the control character U+D800"),
    ],
    ids=[
        "structure",
        "tab",
        "merge conflict",
        "two documents",
        "control character",
        "python object",
        "int",
        "date",
        "timestamp",
        "cycle",
        "undefined alias",
        "list as key",
        "deep",
        "alias bomb",
        "merge-key bomb",
        "bool",
        "empty int",
        "empty float",
        "hexadecimal",
        "too many digits",
        "65 bits",
        "NUL",
        "escape sequence as a key",
        "half a surrogate pair",
    ],
)
def test_what_is_no_yaml_is_one_problem_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_document(text, "k.yaml")
    assert str(caught.value) == f"k.yaml:{problem}\n1 problem in k.yaml"


def test_duplicate_keys_are_problems_at_every_level() -> None:
    document = parse_document("a: 1\nb: {c: 1, c: 2}\nd: [{e: 1}, {e: 1, e: 2, e: 3}]\na: 2\n", "k.yaml")
    with pytest.raises(ManifestError) as caught:
        document.raise_problems()
    assert [str(problem) for problem in caught.value.problems] == [
        "k.yaml:2:11: b.c: key 'c' is already defined at line 2\n  hint: keep one of the two",
        "k.yaml:3:20: d[1].e: key 'e' is already defined at line 3\n  hint: keep one of the two",
        "k.yaml:3:26: d[1].e: key 'e' is already defined at line 3\n  hint: keep one of the two",
        "k.yaml:4:1: a: key 'a' is already defined at line 1\n  hint: keep one of the two",
    ]


def test_a_duplicate_in_an_anchor_is_reported_once() -> None:
    document = parse_document("a: &x {b: 1, b: 2}\nc: *x\nd: *x\n", "k.yaml")
    assert len(document.problems) == 1


def test_overriding_a_merged_key_is_no_duplicate() -> None:
    document = parse_document("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n", "k.yaml")
    assert document.problems == []
    assert document.data["d"] == {"b": 1, "c": 3}
    assert document.marks["d", "c"] == (2, 16)
    assert document.marks["d", "b"] == (1, 11)


@pytest.mark.parametrize("text", ["1:32", "100:20:30", "1:20.5", "190:20:30.15"])
def test_base_60_stays_a_text(text: str) -> None:
    assert parse_document(f"a: {text}\n", "k.yaml").data == {"a": text}


def test_plain_values_keep_their_types() -> None:
    data = parse_document("{a: 1, b: 0x10, c: 1.5, d: true, e: null, f: x, g: [1], h: '1'}", "k.yaml").data
    assert data == {"a": 1, "b": 16, "c": 1.5, "d": True, "e": None, "f": "x", "g": [1], "h": "1"}


def test_a_problem_stands_at_the_nearest_place_that_exists() -> None:
    document = parse_document("a:\n  b: [1, {c: 2}]\n", "k.yaml")
    for path in [("a", "b", 1, "c"), ("a", "b", 1, "nope"), ("a", "q"), ("q",)]:
        document.report(path, "odd")
    places = [(problem.line, problem.column, problem.path) for problem in document.problems]
    assert places == [(2, 14, "a.b[1].c"), (2, 10, "a.b[1].nope"), (2, 3, "a.q"), (1, 1, "q")]


def test_the_same_problem_is_reported_once() -> None:
    document = parse_document("a: 1\n", "k.yaml")
    document.report(("a",), "odd")
    document.report(("a",), "odd")
    document.report(("a",), "other")
    assert [problem.text for problem in document.problems] == ["odd", "other"]


def test_problems_are_raised_in_the_order_of_the_file() -> None:
    document = parse_document("a: 1\nb: [1, 2]\n", "k.yaml")
    for path in [("b", 1), ("a",), ("b", 0)]:
        document.report(path, "odd")
    with pytest.raises(ManifestError) as caught:
        document.raise_problems()
    assert [problem.path for problem in caught.value.problems] == ["a", "b[0]", "b[1]"]


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_document(tmp_path / "none.yaml")
    assert str(caught.value) == f"{tmp_path}/none.yaml: No such file or directory"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory"):
        read_document(tmp_path)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("a: Größe".encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read_document(path)
    assert str(caught.value) == f"{path}: not UTF-8 text: invalid start byte at byte 5"


def test_show_path() -> None:
    assert show_path(("models", "deepseek-v3", "kernels", 2, "shape", "n")) == "models.deepseek-v3.kernels[2].shape.n"
    assert show_path((0, "a")) == "[0].a"
    assert show_path(()) == ""
