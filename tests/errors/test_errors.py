"""The tree of errors: messages, hints, exit codes, pickling, and the drawing of it in the docstring."""

from __future__ import annotations

import errno
import pickle
import re

import pytest

from kregistry import errors
from kregistry.errors import (
    ArgumentError,
    AuditError,
    CompileError,
    ConformanceError,
    DriftError,
    IncompleteError,
    InputError,
    KregistryError,
    ManifestError,
    ManifestProblem,
    MissingRequirement,
    PlanError,
    PluginError,
    ProviderConflictError,
    Rejection,
    ShapeError,
    StorageError,
    TrustError,
    UnknownArchitectureError,
    UnknownNameError,
    UnseenCallError,
    VerifyError,
    WarmupError,
    describe_error,
    nearest_hint,
    place_of,
)

PROBLEM = ManifestProblem("k.yaml", 7, 10, "models.v3.kernels[2].shape.n", "expected 8, got 7", "try 8")

#: An error, its message, its hint, its exit code.
CASES: list[tuple[KregistryError, str, str, int]] = [
    (KregistryError("it broke"), "it broke", "", 1),
    (InputError("bad word", "good word"), "bad word", "good word", 2),
    (
        ManifestError((PROBLEM, ManifestProblem("k.yaml", 9, 1, "", "odd"))),
        "k.yaml:7:10: models.v3.kernels[2].shape.n: expected 8, got 7\n  hint: try 8\n"
        "k.yaml:9:1: odd\n2 problems in k.yaml",
        "",
        2,
    ),
    (ManifestError((ManifestProblem("k.yaml", 9, 1, "", "odd"),)), "k.yaml:9:1: odd\n1 problem in k.yaml", "", 2),
    (UnknownNameError("target", "h10", ("h100", "b200")), "unknown target 'h10'", "did you mean 'h100'?", 2),
    (
        UnknownArchitectureError(
            "architecture", "Other", ("BForCausalLM", "AForCausalLM"), reason="an engine can serve it"
        ),
        "unknown architecture 'Other'",
        "an engine can serve it; known: AForCausalLM, BForCausalLM; for another model, let the engine show its calls: "
        "`kregistry rehearse` runs it on the stub GPU, `kregistry record` watches a server",
        2,
    ),
    (ShapeError("gemm", "n", "expected 8, got 7", "try 8"), "gemm.n: expected 8, got 7", "try 8", 2),
    (ArgumentError("gemm", ("a is too short", "b is on the CPU")), "gemm: a is too short; b is on the CPU", "", 2),
    (
        UnseenCallError("gemm", "n=8 k=16", "m", 7),
        "unseen call: gemm n=8 k=16 at m 7",
        "add it to the manifest: kregistry record writes one that covers a run",
        2,
    ),
    (
        UnseenCallError("gemm", "n=8 k=16", "m", 7, crashes=True),
        "call of a kernel that does not compile: gemm n=8 k=16 at m 7",
        "DeepGEMM chooses a kernel here that the compiler refuses; see `kregistry docs broken-kernels`",
        2,
    ),
    (ShapeError("gemm", "", "n and k do not fit"), "gemm: n and k do not fit", "", 2),
    (
        ProviderConflictError("gemm", ("ours (dist-a 1.0)", "theirs (dist-b 2.0)")),
        "kernel type 'gemm' is provided by ours (dist-a 1.0) and by theirs (dist-b 2.0)",
        "choose one: --plugin gemm=theirs, or in the manifest `providers: {gemm: theirs}`",
        2,
    ),
    (
        ProviderConflictError("gemm", ("same (dist-a 1.0)", "same (dist-b 2.0)")),
        "kernel type 'gemm' is provided by same (dist-a 1.0) and by same (dist-b 2.0)",
        "choose one: --plugin gemm=dist-b, or in the manifest `providers: {gemm: dist-b}`",
        2,
    ),
    (MissingRequirement("no nvcc", "install it"), "no nvcc", "install it", 3),
    (StorageError("/a/b", "disk full", "free some"), "/a/b: disk full", "free some", 4),
    (
        TrustError((Rejection("unsigned", "s3://b", "kernel ab", "no signature"),), "sign it"),
        "remote s3://b: kernel ab: unsigned: no signature",
        "sign it",
        6,
    ),
    (PluginError("mine", "(dist 1.0)", "broke"), "plugin mine (dist 1.0): broke", "", 1),
    (IncompleteError("half done", ("this", "that"), "again"), "half done\n  this\n  that", "again", 1),
    (PlanError("1 problem", ("this",)), "1 problem\n  this", "", 1),
    (DriftError("drifted"), "drifted", "", 1),
    (CompileError("1 of 2", report={"any": "thing"}), "1 of 2", "", 5),
    (VerifyError("1 missing", hint="build"), "1 missing", "build", 1),
    (AuditError("1 differs"), "1 differs", "", 1),
    (WarmupError("1 failed"), "1 failed", "", 1),
    (ConformanceError("1 rule is broken"), "1 rule is broken", "", 1),
]


def every_error() -> list[type[KregistryError]]:
    return [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, KregistryError)]


def test_every_class_has_a_case() -> None:
    assert {type(error) for error, *_ in CASES} == set(every_error())


@pytest.mark.parametrize(("error", "message", "hint", "exit_code"), CASES, ids=lambda each: type(each).__name__)
def test_message_hint_and_exit_code(error: KregistryError, message: str, hint: str, exit_code: int) -> None:
    assert error.message == message
    assert error.hint == hint
    assert error.exit_code == exit_code
    assert str(error) == (f"{message}\nhint: {hint}" if hint else message)


@pytest.mark.parametrize("error", [case[0] for case in CASES], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_cross_process_boundaries(error: KregistryError, protocol: int) -> None:
    copy = pickle.loads(pickle.dumps(error, protocol))
    assert type(copy) is type(error)
    assert (str(copy), copy.exit_code, copy.args) == (str(error), error.exit_code, error.args)
    assert getattr(copy, "report", None) == getattr(error, "report", None)


def test_the_drawing_agrees_with_the_classes() -> None:
    drawn: dict[str, tuple[str, int]] = {}
    parents: list[tuple[int, str, int]] = [(-1, "Exception", 1)]
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([ |`-]*)([A-Z]\w+)(?:\s+\((\d+)\))?\s", line + " ")
        if match is None:
            continue
        depth = len(match.group(1))
        while parents[-1][0] >= depth:
            parents.pop()
        code = int(match.group(3) or parents[-1][2])
        drawn[match.group(2)] = (parents[-1][1], code)
        parents.append((depth, match.group(2), code))
    assert drawn == {each.__name__: (each.__base__.__name__, each.exit_code) for each in every_error()}


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "free some space, or name another directory with --store or --cache-dir"),
        (errno.EDQUOT, "free some of your quota, or name another directory with --store or --cache-dir"),
        (errno.EACCES, "name a writable directory with --store or --cache-dir"),
        (errno.EPERM, "name a writable directory with --store or --cache-dir"),
        (errno.EROFS, "the file system is read-only: name another directory with --store or --cache-dir"),
        (errno.ENOENT, ""),
    ],
)
def test_storage_error_of_an_oserror(code: int, hint: str) -> None:
    import os

    error = StorageError.from_oserror(OSError(code, os.strerror(code)), "/the/path")
    assert str(error).startswith(f"/the/path: {os.strerror(code)}")
    assert error.hint == hint


def test_storage_error_prefers_the_file_of_the_oserror() -> None:
    assert StorageError.from_oserror(OSError(errno.ENOSPC, "full", "/the/file"), "/the").path == "/the/file"


def test_storage_error_of_an_oserror_without_number() -> None:
    assert str(StorageError.from_oserror(OSError("odd"), "/p")) == "/p: odd"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("fp8_gem_nt", ["fp8_gemm_nt", "other"], "did you mean 'fp8_gemm_nt'?"),
        ("gemm", ["gemm_tn", "gemm_nt", "gemm_nn"], "did you mean 'gemm_nn', 'gemm_nt' or 'gemm_tn'?"),
        ("zzz", ["b", "a", "b"], "known types: a, b"),
        ("zzz", [], "no type is known"),
    ],
)
def test_nearest_hint(name: str, known: list[str], hint: str) -> None:
    assert nearest_hint(name, known, "type") == hint


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("provider of fp8_gemm_nt", "known providers of fp8_gemm_nt: a"),
        ("policy", "known policies: a"),
        ("key", "known keys: a"),
    ],
)
def test_known_names_are_listed_under_a_correct_plural(kind: str, hint: str) -> None:
    assert nearest_hint("zzz", ["a"], kind) == hint


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("one\n  two"), "ValueError: one two"),
        (ValueError(), "ValueError"),
        (
            RuntimeError("Assertion error (a.hpp:3): n == 3\nException raised from f at /build/x.cpp:9 (most recent)"),
            "RuntimeError: Assertion error (a.hpp:3): n == 3",
        ),
        (RuntimeError("odd\nTraceback (most recent call last): x"), "RuntimeError: odd"),
        (ValueError("x" * 900), "ValueError: " + "x" * 488),
    ],
)
def test_an_error_is_one_line_without_the_stack(error: Exception, text: str) -> None:
    assert describe_error(error) == text


def test_an_error_that_cannot_be_shown_is_described_by_its_type() -> None:
    class Nameless(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise RuntimeError

    class Unspeakable(Exception, metaclass=Nameless):
        def __str__(self) -> str:
            raise SystemExit(3)

    assert describe_error(Unspeakable()) == "Unspeakable: <exception str() failed>"
    assert place_of(Unspeakable()) == "?"


def test_the_place_of_an_error_is_where_it_was_raised() -> None:
    with pytest.raises(ValueError) as caught:
        int("x")
    assert place_of(caught.value).startswith(f"{__file__}:")
