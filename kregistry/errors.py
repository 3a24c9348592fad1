"""Every error that kregistry raises deliberately.

    KregistryError                       shown as one message, without a traceback
    |-- InputError                 (2)   what the user wrote is wrong
    |   |-- ManifestError                one or more problems in a kernels.yaml
    |   |-- UnknownNameError             a target, model, kernel type ... that does not exist
    |   |   `-- UnknownArchitectureError a model whose shapes `kregistry init` does not know
    |   |-- ShapeError                   a shape that its kernel type refuses
    |   |-- ProviderConflictError        two plugins offer one kernel type
    |   |-- ArgumentError                a call whose tensors do not fit (debug mode only)
    |   `-- UnseenCallError              a call that no entry covers, where that is an error
    |-- MissingRequirement         (3)   something is missing on the machine; the hint names the command that fixes it
    |-- StorageError               (4)   a disk is full, a directory cannot be written, a file cannot be read
    |-- PluginError                (1)   a plugin broke its contract
    |-- TrustError                 (6)   something from a remote was refused: its signature, or the policy
    `-- IncompleteError            (1)   the work was done as far as it could be, and is not complete
        |-- PlanError                    an entry could not be planned
        |-- DriftError                   the plan differs from a lock file
        |-- CompileError           (5)   a kernel that DeepGEMM chooses does not compile
        |-- VerifyError                  a kernel is missing or damaged
        |-- AuditError                   a kernel is not what its source compiles to
        |-- ConformanceError             a kernel type breaks a rule of the conformance kit
        `-- WarmupError                  an entry could not be warmed up

The number is the exit code of the command line. An exception outside this tree is a bug and keeps its traceback.
All of them can be pickled: they cross process boundaries.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from attrs import define, field, frozen


class KregistryError(Exception):
    """Base of every error that is shown to the user as a message, without a traceback."""

    exit_code: ClassVar[int] = 1
    hint: str = ""

    @property
    def message(self) -> str:
        return super().__str__()

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class InputError(KregistryError):
    """What the user wrote is wrong."""

    exit_code: ClassVar[int] = 2

    def __init__(self, text: str, hint: str = "") -> None:
        # Not an attrs class: the subclasses carry data of their own in place of these two.
        super().__init__(text, hint)
        self.text = text
        self.hint = hint

    @property
    def message(self) -> str:
        return self.text


@frozen
class ManifestProblem:
    """One problem in a manifest: where it is, what was found and what was expected."""

    file: str
    line: int
    column: int
    path: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        head = f"{where}: {self.path}: {self.text}" if self.path else f"{where}: {self.text}"
        return f"{head}\n  hint: {self.hint}" if self.hint else head


@define
class ManifestError(InputError):
    """The problems of one manifest, in the order of the file; with ``more``, the file was not read to its end."""

    problems: tuple[ManifestProblem, ...]
    more: bool = False

    @property
    def message(self) -> str:
        count = len(self.problems)
        lines = "\n".join(str(problem) for problem in self.problems)
        first = "the first " if self.more else ""
        return f"{lines}\n{first}{count} problem{'s' if count != 1 else ''} in {self.problems[0].file}"


@define
class UnknownNameError(InputError):
    """A name that is not known. ``unread``: where else it may be known, but could not be read."""

    kind: str
    name: str
    known: tuple[str, ...] = ()
    note: str = ""
    unread: str = ""

    @property
    def message(self) -> str:
        return f"unknown {self.kind} {quoted(self.name)}"

    @property
    def hint(self) -> str:  # type: ignore[override]
        if self.unread:  # only a slip of the finger is worth a guess: the name may well be right
            near = nearest_hint(self.name, self.known, self.kind, cutoff=0.85)
            parts = [self.unread, near if near.startswith("did you mean") else "", self.note]
        else:
            parts = [nearest_hint(self.name, self.known, self.kind), self.note]
        return "; ".join(filter(None, parts))


@define
class UnknownArchitectureError(UnknownNameError):
    """``kregistry init`` has no formulas for a model; ``reason`` says what is known of it, and may be empty."""

    reason: str = ""

    @property
    def hint(self) -> str:  # type: ignore[override]
        # Only another spelling is offered: shapes of a model with a similar name would be wrong.
        spelled = [name for name in self.known if name.casefold() == self.name.casefold()]
        if spelled:
            return f"did you mean {spelled[0]!r}?"
        said = f"{self.reason}; " if self.reason else ""
        return (
            f"{said}known: {', '.join(sorted(self.known))}; for another model, let the engine show its calls: "
            "`kregistry rehearse` runs it on the stub GPU, `kregistry record` watches a server"
        )


@define
class ShapeError(InputError):
    """A shape that its kernel type refuses; ``dimension`` is empty when the rule spans several.

    ``ShapeError("text")`` is enough in ``check()``: :meth:`KernelType.resolve` adds the name of the kernel type.
    """

    kernel_type: str
    dimension: str = ""
    text: str = ""
    hint: str = ""

    def __attrs_post_init__(self) -> None:
        if not self.text:  # one text, or a text with the dimension after it
            self.kernel_type, self.text = "", self.kernel_type

    @property
    def message(self) -> str:
        where = ".".join(name for name in (self.kernel_type, self.dimension) if name)
        return f"{where}: {self.text}" if where else self.text


@define
class ArgumentError(InputError):
    """The arguments of a call do not fit its kernel type."""

    kernel_type: str
    problems: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"{self.kernel_type}: {'; '.join(self.problems)}"


@define
class UnseenCallError(InputError):
    """A call that no entry covers: DeepGEMM would compile a kernel now, or (``crashes``) fail to compile one.

    ``unknown`` is the reason why the kernel type does not know the call, so that no entry can cover it; else empty.
    """

    kernel_type: str
    shape: str
    run_dimension: str
    m: int
    crashes: bool = False
    unknown: str = ""

    @property
    def message(self) -> str:
        if self.unknown:
            return f"unknown call: {self.kernel_type} at {self.run_dimension} {self.m}: {self.unknown}"
        where = f"{self.kernel_type} {self.shape} at {self.run_dimension} {self.m}"
        return f"call of a kernel that does not compile: {where}" if self.crashes else f"unseen call: {where}"

    @property
    def hint(self) -> str:  # type: ignore[override]
        if self.unknown:
            return "no manifest can cover it: extend the kernel type, or call in a form that it knows"
        if self.crashes:
            return "DeepGEMM chooses a kernel here that the compiler refuses; see `kregistry docs broken-kernels`"
        return "add it to the manifest: kregistry record writes one that covers a run"


@define
class ProviderConflictError(InputError):
    """Two or more plugins offer a kernel type of the same name."""

    kernel_type: str
    providers: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"kernel type {self.kernel_type!r} is provided by {' and by '.join(self.providers)}"

    @property
    def hint(self) -> str:  # type: ignore[override]
        plugin, _, origin = self.providers[-1].partition(" ")
        if any(other.partition(" ")[0] == plugin for other in self.providers[:-1]):
            plugin = origin.strip("()").partition(" ")[0]  # two plugins of one name differ by distribution
        return (
            f"choose one: --plugin {self.kernel_type}={plugin}, "
            f"or in the manifest `providers: {{{self.kernel_type}: {plugin}}}`"
        )


@define
class MissingRequirement(KregistryError):
    """Something that the command needs is missing on the machine."""

    exit_code: ClassVar[int] = 3
    text: str
    hint: str = ""

    @property
    def message(self) -> str:
        return self.text


@define
class StorageError(KregistryError):
    """A file or directory that cannot be read or written."""

    exit_code: ClassVar[int] = 4
    path: str
    text: str
    hint: str = ""

    @property
    def message(self) -> str:
        return f"{self.path}: {self.text}"

    @classmethod
    def from_oserror(cls, error: OSError, path: object) -> StorageError:
        """The error of an ``OSError``: the path, what happened to it, and a hint where one is known."""
        import errno

        hints = {
            errno.ENOSPC: "free some space, or name another directory with --store or --cache-dir",
            errno.EDQUOT: "free some of your quota, or name another directory with --store or --cache-dir",
            errno.EACCES: "name a writable directory with --store or --cache-dir",
            errno.EPERM: "name a writable directory with --store or --cache-dir",
            errno.ENOTDIR: "a file is where a directory should be: remove it",
            errno.EEXIST: "something else is there: remove it",
            errno.EISDIR: "a directory is where a file should be: remove it",
            errno.EROFS: "the file system is read-only: name another directory with --store or --cache-dir",
        }
        text = error.strerror or str(error)
        return cls(str(error.filename or path), text, hints.get(error.errno or 0, ""))


@define
class PluginError(KregistryError):
    """A plugin that could not be loaded or that broke its contract."""

    plugin: str
    version: str
    text: str
    hint: str = ""

    @property
    def message(self) -> str:
        return f"plugin {self.plugin} {self.version}: {self.text}"


@frozen
class Refusal:
    """Something that was not taken from a remote.

    Attributes:
        outcome: the name of the reason, e.g. ``"unknown-key"``; see :mod:`kregistry.trust.outcome`.
        remote: its URL without secrets.
        subject: the kernel or the bundle.
        text: what the outcome means.
        detail: what was found; may be empty.
    """

    outcome: str
    remote: str
    subject: str
    text: str
    detail: str = ""

    @property
    def reason(self) -> str:
        return f"{self.outcome}: {self.text}{f' ({self.detail})' if self.detail else ''}"

    def __str__(self) -> str:
        return f"{self.subject}: {self.reason}"


@define
class TrustError(KregistryError):
    """Something from a remote was refused, and nothing of it was written."""

    exit_code: ClassVar[int] = 6
    refusals: tuple[Refusal, ...]
    hint: str = ""

    @property
    def message(self) -> str:
        first, *others = self.refusals
        if not others:
            of = "" if first.subject == first.remote else f"{first.subject}: "
            return f"remote {first.remote}: {of}{first.reason}"
        lines = (f"  {each}" for each in self.refusals)
        return "\n".join((f"remote {first.remote}: {count_of(len(self.refusals), 'kernel')} refused", *lines))


@define
class IncompleteError(KregistryError):
    """The work was done as far as it could be, and is not complete."""

    text: str
    details: tuple[str, ...] = ()
    hint: str = ""
    report: Any = field(default=None, repr=False)

    @property
    def message(self) -> str:
        return "\n".join((self.text, *(f"  {detail}" for detail in self.details)))


class PlanError(IncompleteError):
    """One or more entries could not be planned."""


class DriftError(IncompleteError):
    """The plan differs from a lock file."""


class CompileError(IncompleteError):
    """One or more kernels that DeepGEMM chooses do not compile."""

    exit_code: ClassVar[int] = 5


class VerifyError(IncompleteError):
    """One or more kernels are missing or damaged."""


class AuditError(IncompleteError):
    """One or more kernels are not what their sources compile to, or could not be compared."""


class ConformanceError(IncompleteError):
    """One or more kernel types break a rule of the conformance kit."""


class WarmupError(IncompleteError):
    """One or more entries could not be warmed up."""


@contextmanager
def storage_errors(path: object) -> Iterator[None]:
    """Turn an ``OSError`` into a :class:`StorageError` that names the path."""
    try:
        yield
    except OSError as error:
        raise StorageError.from_oserror(error, path) from error


def describe_error(error: BaseException) -> str:
    """Any exception in one line, without the C++ stack and build paths that torch and DeepGEMM append.

    It raises nothing itself: the classes of plugins may have any ``__str__``.
    """
    kind: str = type.__dict__["__name__"].__get__(type(error))  # a metaclass may have a __name__ that raises
    try:
        text = " ".join(str(error).split())
    except BaseException:  # a sys.exit() of __str__ included
        text = "<exception str() failed>"
    for tail in (" Exception raised from", " Traceback"):
        text = text.partition(tail)[0]
    return f"{kind}: {text}"[:500] if text else kind


def place_of(error: BaseException) -> str:
    """``"FILE:LINE"`` where an exception was raised, or of the wrong syntax; it reads no source and raises nothing.

    The frames of the import system are left out: the line that imports is before them.
    """
    try:
        if isinstance(error, SyntaxError) and isinstance(error.lineno, int) and str(error.filename).endswith(".py"):
            return f"{error.filename}:{error.lineno}"
        place, trace = "?", error.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if place == "?" or not file.startswith("<frozen "):
                place = f"{file}:{trace.tb_lineno}"
            trace = trace.tb_next
        return place
    except BaseException:  # a class of a plugin may override __traceback__
        return "?"


def shorten(text: str, limit: int = 200) -> str:
    """A text of at most ``limit`` characters: a message never repeats a long value."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def quoted(value: object) -> str:
    """``repr`` of a value, shortened; it raises nothing. Control characters are escaped."""
    if isinstance(value, (str, bytes)):
        return shorten(repr(value[:200]))
    try:
        return shorten(repr(value))
    except Exception:  # an integer with too many digits, a plugin's own __repr__
        return f"a value of type {type(value).__name__}"


def nearest_hint(name: str, known: Iterable[str], kind: str, cutoff: float = 0.6) -> str:
    """A hint for an unknown name: the nearest known name, or else all known names.

    Args:
        name: the unknown name.
        known: the names that exist.
        kind: what the names are, in the singular: ``"target"``, ``"provider of fp8_gemm_nt"``.
        cutoff: how alike two names must be, from 0 to 1.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name[:100], names, n=1, cutoff=cutoff)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known {_plural(kind)}: {', '.join(names)}" if names else f"no {kind} is known"


def count_of(number: int, noun: str) -> str:
    """``"1 kernel"``, ``"2 kernels"``, ``"3 entries"``."""
    return f"{number} {noun if number == 1 else _plural(noun)}"


def _plural(phrase: str) -> str:
    """``"providers of x"`` for ``"provider of x"``: the words before ``of`` become plural."""
    noun, of, rest = phrase.partition(" of ")
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return plural + of + rest
