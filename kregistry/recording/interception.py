"""In a recorded process: every DeepGEMM function that a kernel type knows tells of its calls before it is made."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import asdict

from kregistry.kernel_type import EmptyInput
from kregistry.recording.recognition import known_by, recognise
from kregistry.recording.recorded_run import call_line, problem_line, target_line
from kregistry.recording.recording import Recording
from kregistry.registry import Registry
from kregistry.target import Target, detect_target


def observe(module: ModuleType, directory: str) -> None:
    """Put an observer in front of the functions of a DeepGEMM module; calls go to a file in ``directory``.

    Each call that is new is written at once, so that a process that is killed loses nothing.
    """
    observer = _Observer(Registry(), Path(directory))
    names = {name for kernel_type in observer.kernel_types() for name in kernel_type.function_names}
    for name in sorted(names):
        function = getattr(module, name, None)
        if function is not None:
            setattr(module, name, observer.in_front_of(name, function))


class _Observer:
    def __init__(self, registry: Registry, directory: Path) -> None:
        self._registry = registry
        self._directory = directory
        self._recording = Recording(lambda key, m: self._write(call_line(key, m)))
        self._told: set[str] = set()
        self._target: Target | None = None

    def kernel_types(self) -> list[Any]:
        return [registration.kernel_type for registration in self._registry.registrations()]

    def in_front_of(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def observed(*args: Any, **kwargs: Any) -> Any:
            self._note(name, args, kwargs)
            return function(*args, **kwargs)

        return observed

    def _note(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Never raises: recording must not change what a program does."""
        try:
            found = recognise(self._registry, function, args, kwargs)
            if found is None:
                names = ", ".join(each.name for each in known_by(self._registry, function))
                self._tell(function, f"no kernel type ({names}) can read the call")
                return
            kernel_type, shape, m = found
            if m > 0 or kernel_type.empty_input is EmptyInput.LAUNCH:
                kernel_type.resolve(shape, self._device())
                self._recording.add(kernel_type.name, shape, m)
        except Exception as error:
            self._tell(function, f"{type(error).__name__}: {error}")

    def _device(self) -> Target:
        if self._target is None:
            self._target = detect_target()
            self._write(target_line(asdict(self._target)))
        return self._target

    def _tell(self, function: str, text: str) -> None:
        if function not in self._told:
            self._told.add(function)
            self._write(problem_line(function, text))

    def _write(self, line: bytes) -> None:
        path = self._directory / f"{os.getpid()}.jsonl"  # a fork gets a file of its own
        with path.open("ab", buffering=0) as file:
            file.write(line)
