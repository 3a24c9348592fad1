"""The map in the terminal: which entries are meant, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from plans import K

from kregistry.errors import InputError
from kregistry.report.page_contents import PageContents
from kregistry.report.selection import EntrySelection
from kregistry.report.text_map import Colours, axis_line, bar, kernel_lines
from kregistry.report.why import explain

FILE = Path("kernels.yaml")


def labelled(contents: PageContents) -> PageContents:
    first, second = contents.plan.entries
    entries = (
        evolve(first, entry=evolve(first.entry, label="o_proj", line=5)),
        evolve(second, entry=evolve(second.entry, label="q_proj", line=9)),
    )
    return evolve(contents, plan=evolve(contents.plan, entries=entries))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", [0, 1]),
        ("sample", [0, 1]),
        ("o_proj", [0]),
        ("PROJ", [0, 1]),
        ("sample n=16", [1]),
        ("sample layout=ROW m=300", [0]),
        ("kernels.yaml:5", [0]),
        ("kernels.yaml:8", [0]),
        ("kernels.yaml:9:3", [1]),
        ("kernels.yaml:99 m=8", [1]),
        ("kernels.yaml o_proj", [0]),
        ("sample other/kernels.lock n=16", [1]),
    ],
)
def test_what_is_meant(contents: PageContents, words: str, found: list[int]) -> None:
    entries = labelled(contents).plan.entries
    chosen = EntrySelection.parse(tuple(words.split()))
    assert [entries.index(each) for each in chosen.find(entries, FILE)] == found


@pytest.mark.parametrize(
    ("words", "text", "hint"),
    [
        ("o_prj", "kernels.yaml has no entry 'o_prj'", "did you mean 'o_proj'?"),
        ("sample n=9", "kernels.yaml has no such entry with n=9", "there is n=8, 16"),
        ("sample zzz=9", "no such dimension: zzz", "known dimensions: layout, m, n, sms, splits"),
        ("sample m=x", "m=x: expected an integer", "e.g. m=300"),
        ("sample m=9999", "m=9999 is in no range of kernels.yaml", "there is m 1..400, m 1..8"),
        ("kernels.yaml:2", "kernels.yaml:2: no entry begins at or before this line", "the first is at 5"),
    ],
)
def test_what_is_not_there(contents: PageContents, words: str, text: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        EntrySelection.parse(tuple(words.split())).find(labelled(contents).plan.entries, FILE)
    assert (caught.value.text, caught.value.hint) == (text, hint)


def test_a_file_by_position() -> None:
    chosen = EntrySelection.parse(("a.yml", "o_proj", "a.yml:17", "m=3"))
    assert (chosen.file, chosen.line, chosen.names, dict(chosen.values)) == (Path("a.yml"), 17, ("o_proj",), {"m": "3"})
    assert EntrySelection.parse(("o_proj", "k.lock")).file == Path("k.lock")
    with pytest.raises(InputError, match=r"two files: a\.yaml and b\.yaml"):
        EntrySelection.parse(("a.yaml", "b.yaml:3"))


def test_one_value_is_explained(contents: PageContents) -> None:
    (entry, _) = labelled(contents).plan.entries
    lines = list(explain(entry, 20, contents.facts, "0.1", "h100"))
    assert lines[1] == ("m", "20, in the segment 17..32")
    assert [text for title, text in lines if title == "kernel"] == [K[0].id, K[1].id]
    texts = [text for _, text in lines]
    assert "in the store, not in the JIT cache, compiled by the last build" in texts
    assert "2.0 KiB, compiled in 2.5 s" in texts
    assert "BLOCK_M=32 BLOCK_N=64 dtype_t=cutlass::bfloat16_t kFlag=true" in texts
    assert lines[-3] == ("why", "the host code of DeepGEMM 0.1 chose it when it ran on the stub h100 with m = 20")
    assert texts[-2:] == ["below it, at m 1..16: BLOCK_M=16 (here 32)", "above it, at m 33..300: BLOCK_M=64 (here 32)"]


def test_a_refused_value_and_a_failed_entry_are_explained(contents: PageContents) -> None:
    first, second = contents.plan.entries
    assert list(explain(second, 9, contents.facts, "0.1", "h100"))[1:] == [("m", "9: DeepGEMM refuses 9: <no> & never")]
    failed = evolve(first, segments=(), error="crashes")
    assert list(explain(failed, 9, contents.facts, "0.1", "h100"))[1:] == [("error", "crashes")]


def test_a_bar_shows_every_change_without_colours(contents: PageContents) -> None:
    first, second = contents.plan.entries
    colours = Colours(contents.facts, styled=False)
    assert axis_line(first.entry.range, 40) == "1   2    4   8    16   32  64   128  256"
    shown = bar(first, colours, 40)
    assert len(shown) == 40 and list(dict.fromkeys(shown)) == ["█", "▓", "▒", "░"]
    assert list(kernel_lines(first, contents.facts, colours))[1] == (
        "▓",
        f"m 17..32    {K[0].id} (tile 16x64, 100 B) + {K[1].id} (tile 32x64, 2.0 KiB)",
    )
    assert list(kernel_lines(second, contents.facts, colours))[-1] == ("x", "m 9: refused: <no> & never")


def test_colours_are_those_of_the_kernels(contents: PageContents) -> None:
    (first, _) = contents.plan.entries
    shown = bar(first, Colours(contents.facts, styled=True), 20)
    assert shown.count("\x1b[38;5;") == 20 and len(set(shown.split("\x1b[0m"))) > 3


@pytest.mark.parametrize(
    "words",
    [f"kernels.yaml:{'9' * 5000}", f"m={'9' * 5000}", f"m={'x' * 5000}", "y" * 5000, f"n={'1' * 5000}", "z=" * 999],
    ids=lambda words: words[:20],
)
def test_words_of_any_length_are_refused_in_a_short_message(contents: PageContents, words: str) -> None:
    with pytest.raises(InputError) as caught:
        EntrySelection.parse((words,)).find(contents.plan.entries, FILE)
    assert len(str(caught.value)) < 700
