"""In a recorded process: each call of a DeepGEMM function that a kernel type knows is recorded before it is made."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import asdict

from kregistry.deep_gemm.settings import observe as observe_settings
from kregistry.kernel_type import EmptyInput
from kregistry.recording.recognition import recognise, why_unknown
from kregistry.recording.recorded_call import CallLine, Line, ProblemLine, TargetLine, write_line
from kregistry.recording.recording import Recording
from kregistry.registry import Registry
from kregistry.target import Target, detect_target


def observe(module: ModuleType, directory: str) -> None:
    """Wrap the functions of a DeepGEMM module, so that their calls are written to a file in ``directory``.

    Each new call is written at once, so that a process that is killed loses nothing.
    """
    observe_settings(module)
    observer = _Observer(Registry(), Path(directory))
    names = {name for kernel_type in observer.kernel_types() for name in kernel_type.function_names}
    for name in sorted(names):
        function = getattr(module, name, None)
        if function is not None:
            setattr(module, name, observer.wrap(name, function))


class _Observer:
    def __init__(self, registry: Registry, directory: Path) -> None:
        self._registry = registry
        self._directory = directory
        self._recording = Recording(lambda key, m: self._write(CallLine(key[0], dict(key[1]), m)))
        self._reported: set[str] = set()
        self._target: Target | None = None
        self._lost = self._torn = False

    def kernel_types(self) -> list[Any]:
        return [registration.kernel_type for registration in self._registry.registrations()]

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def observed(*args: Any, **kwargs: Any) -> Any:
            self._record(name, args, kwargs)
            return function(*args, **kwargs)

        return observed

    def _record(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Record a call. Never raises: recording must not change what a program does."""
        try:
            self._try_to_record(function, args, kwargs)
        except OSError as error:
            self._lose(error)
        except (Exception, SystemExit) as error:  # of a plugin that reads the call
            try:
                self._report(function, f"{type(error).__name__}: {error}")
            except (Exception, SystemExit) as second:
                self._lose(second)

    def _lose(self, error: BaseException) -> None:
        """Say once that calls are not recorded; the next new call tries again."""
        if not self._lost:
            self._lost = True
            text = f"kregistry record: calls of process {os.getpid()} are not recorded: {type(error).__name__}: "
            with contextlib.suppress(Exception):
                os.write(2, f"{text}{error}\n".encode(errors="backslashreplace"))

    def _try_to_record(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        found = recognise(self._registry, function, args, kwargs)
        if found is None:
            reasons = why_unknown(self._registry, function, args, kwargs)
            self._report(function, f"no kernel type knows the call: {reasons}")
            return
        kernel_type, shape, m = found
        if m > 0 or kernel_type.empty_input is EmptyInput.LAUNCH:
            kernel_type.resolve(shape, self._device())
            self._recording.add(kernel_type.name, shape, m)

    def _device(self) -> Target:
        if self._target is None:
            target = detect_target()
            self._write(TargetLine(asdict(target)))
            self._target = target
        return self._target

    def _report(self, function: str, text: str) -> None:
        if function not in self._reported:
            self._write(ProblemLine(function, text))
            self._reported.add(function)

    def _write(self, line: Line) -> None:
        path = self._directory / f"{os.getpid()}.jsonl"  # a fork gets a file of its own
        content = write_line(line)
        if self._torn:
            content = b"\n" + content  # what is left of a line that a full disk has cut costs that line only
        with path.open("ab", buffering=0) as file:
            written = file.write(content)
        self._torn = written != len(content)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
