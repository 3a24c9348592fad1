"""Starts the process of an engine on the stub GPU, and says what became of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import evolve, field, frozen

from kregistry.errors import IncompleteError, InputError, MissingRequirement, StorageError, UnknownNameError
from kregistry.python_child import child_command, child_environment
from kregistry.rehearsal.findings import Failure, Findings, read_findings
from kregistry.rehearsal.patches.catalogue import VERSIONS
from kregistry.stub.program import program_environment
from kregistry.target import GIB, Target

#: Usage statistics of engines and of what they load are off; nothing is fetched from a hub.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "KREGISTRY_SGLANG": "0",
    "KREGISTRY_VLLM": "0",
}
_CODE = "from kregistry.rehearsal.process import main\nmain(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:])"
#: What pydantic adds to each message: the object that was checked, and an address.
_PYDANTIC = re.compile(
    r" \[type=\w+, input_value=.*?input_type=\w+\](\s+For further information visit \S+)?", re.DOTALL
)
#: Names of variables that may hold a secret, and values that are written down.
_SECRET = re.compile(r"KEY|TOKEN$|SECRET|PASS|AUTH|CREDENTIAL")
_PLAIN = re.compile(r"[\w.,:+-]{1,64}$")
#: Seconds after which a process that does not end itself is ended.
_GRACE = 10.0
#: Memory that is not counted if the model does not fit, as a multiple of the target's.
_ROOM = 16


@frozen
class Rehearsal:
    """A rehearsal that was carried out.

    Attributes:
        engine: ``sglang`` or ``vllm``.
        version: the version of the engine.
        arguments: the engine's arguments as the user gave them.
        target: the GPU.
        findings: the calls, and what was not run.
        notes: what the user should know.
        variables: environment variables that the engine reads and the user has set.
    """

    engine: str
    version: str
    arguments: tuple[str, ...]
    target: Target
    findings: Findings
    notes: tuple[str, ...]
    variables: Mapping[str, str] = field(factory=dict)


def rehearse(
    engine: str,
    target: Target,
    arguments: tuple[str, ...],
    *,
    any_version: bool = False,
    seconds: float = 600,
    log: Path | None = None,
    on_start: Callable[[str], None] = lambda text: None,
) -> Rehearsal:
    """Run an engine on the stub GPU as rank 0 of all its ranks, and read its DeepGEMM calls.

    Args:
        engine: ``sglang`` or ``vllm``.
        target: the GPU to show.
        arguments: the engine's own arguments, as its server takes them.
        any_version: try the patches with a version that they were not tested with.
        seconds: the longest that the engine may take.
        log: the file for the engine's output; ``None``: it is read if the engine fails, and then forgotten.
        on_start: called when an attempt begins, with a text for the user.

    Raises:
        UnknownNameError: there is no such engine.
        MissingRequirement: the engine is not installed, has another version, or has changed under a patch.
        InputError: the engine rejects the arguments or the model.
        IncompleteError: the engine fails while it serves.
        StorageError: a file cannot be written.
    """
    version = _installed(engine, any_version=any_version)
    attempt = _Attempt(engine, target, arguments, seconds, log)
    on_start(f"{engine} {version} as {target.name}")
    found = attempt.run()
    notes: tuple[str, ...] = ()
    again = found.failure is not None and found.failure.kind == "memory"
    if again or (found.facts is not None and not found.facts.fits):
        notes = (
            f"the model does not fit into {target.memory_bytes // GIB} GiB at this setting, and was rehearsed with as "
            "much memory as it asks for; a server needs more or larger GPUs",
        )
        on_start(notes[0])
    if again:
        found = evolve(attempt, does_not_fit=True).run()
    if found.failure is not None:
        raise _error(engine, version, found.failure)
    return Rehearsal(engine, version, arguments, target, found, notes, _variables(engine))


def _variables(engine: str) -> Mapping[str, str]:
    """What the user has set of the engine's own variables; a value that may be secret is left out."""
    ours = {*_QUIET, *import_module(f"kregistry.rehearsal.{engine}").ENVIRONMENT}
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(f"{engine.upper()}_")
        and name not in ours
        and not _SECRET.search(name)
        and _PLAIN.match(value)
    }


def _installed(engine: str, *, any_version: bool) -> str:
    if engine not in VERSIONS:
        raise UnknownNameError("engine", engine, tuple(VERSIONS))
    known = ", ".join(VERSIONS[engine])
    try:
        version = metadata.version(engine)
    except metadata.PackageNotFoundError:
        raise MissingRequirement(
            f"{engine} is not installed", f"a rehearsal runs the engine itself; its patches know {engine} {known}"
        ) from None
    if version not in VERSIONS[engine] and not any_version:
        raise MissingRequirement(
            f"{engine} {version} is installed, and the patches of a rehearsal know {known}",
            "--any-version tries them all the same: a patch that does not fit is named",
        )
    return version


@frozen
class _Attempt:
    engine: str
    target: Target
    arguments: tuple[str, ...]
    seconds: float
    log: Path | None
    does_not_fit: bool = False

    def run(self) -> Findings:
        module = import_module(f"kregistry.rehearsal.{self.engine}")
        variables: Mapping[str, str] = module.ENVIRONMENT
        arguments = (*self.arguments, *(module.IF_IT_DOES_NOT_FIT if self.does_not_fit else ()))
        base = {**child_environment(), **_QUIET, **variables}
        room = _ROOM * self.target.memory_bytes
        memory = {"uncounted_bytes": room} if self.does_not_fit else {"overflow_bytes": room * module.OVERFLOWS}
        with TemporaryDirectory(prefix="kregistry-rehearsal-") as scratch:
            file, log = Path(scratch) / "findings.jsonl", self.log or Path(scratch) / "engine.log"
            with program_environment(self.target, base=base, **memory) as environment:
                code = self._wait(
                    child_command(_CODE, self.engine, str(file), str(self.seconds), *arguments), environment, log
                )
            found = read_findings(file)
            failure = found.failure
            if failure is None and code is None:
                failure = Failure("died", "", _too_long(self.seconds, found, log), "")
            elif failure is None and code:
                failure = Failure("died", "", f"it has ended with code {code}: {_last_words(log)}", "")
            if failure is not None and not failure.text:
                failure = evolve(failure, text=_last_words(log))
            return evolve(found, failure=failure)

    def _wait(self, command: list[str], environment: Mapping[str, str], log: Path) -> int | None:
        """The exit code; ``None``: it took too long, and was ended by itself or, if it could not, from here."""
        began = time.monotonic()
        try:
            with log.open("wb") as out:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
                try:
                    code = process.wait(self.seconds + _GRACE)
                except subprocess.TimeoutExpired:
                    code = None
                finally:
                    with suppress(ProcessLookupError):  # processes that the engine has started, and itself
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        except OSError as error:
            raise StorageError.from_oserror(error, log) from error
        return None if code and time.monotonic() - began > self.seconds else code


def _too_long(seconds: float, found: Findings, log: Path) -> str:
    """What a rehearsal was doing when its time was over: the innermost call of the traceback in the log."""
    place = next(
        (line.strip() for line in log.read_text(errors="replace").splitlines() if line.startswith("  File")), ""
    )
    last = found.forwards[-1] if found.forwards else None
    at = f"a {last.step} of {last.tokens} tokens" if last else "loading"
    return f"it has not ended after {seconds:g} s (--timeout), and was at {at}{f': {place}' if place else ''}"


def _last_words(log: Path) -> str:
    """The last paragraph that the engine has printed: the message of its parser of arguments."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it has said nothing"


def _error(engine: str, version: str, failure: Failure) -> InputError | IncompleteError | MissingRequirement:
    text = textwrap.shorten(" ".join(_PYDANTIC.sub("", failure.text).split()), 600, placeholder=" ...")
    where = f" ({failure.site})" if failure.site else ""
    if failure.kind == "patch":
        return MissingRequirement(f"{engine} {version}: {text}")
    if failure.kind == "memory":
        return InputError(f"{engine} {version}: the model does not fit, even with more memory: {text}")
    if failure.stage in ("arguments", "load"):
        return InputError(f"{engine} {version} rejects it: {text}{where}", "the engine's log: --log FILE")
    return IncompleteError(f"{engine} {version} failed on the stub GPU: {text}{where}")


__all__ = ["Rehearsal", "rehearse"]
