"""Preprocessed headers: once for each family, however many front ends it has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import define, field

from kregistry.build.front_end.family import Family
from kregistry.build.front_end.not_understood import NotUnderstood
from kregistry.build.front_end.source import group_source, pointer

#: Stands for the kernels while the headers are preprocessed. A macro in the name of a kernel would stay as it is: then
#: the front end finds no such kernel, and its family is compiled alone.
_KERNELS = "kregistry_kernels"
_PLACE = pointer(_KERNELS)


@define
class _Headers:
    lock: threading.Lock = field(factory=threading.Lock)
    source: str = ""
    text: str = ""


class Preprocessed:
    """What the preprocessor makes of the headers of each family; safe against threads."""

    def __init__(self) -> None:
        self._families: dict[Family, _Headers] = {}
        self._lock = threading.Lock()

    def text(self, family: Family, references: Iterable[str], source: Path, preprocess: Callable[[], str]) -> str:
        """The preprocessed form of one source with several kernels.

        Args:
            source: where the source is said to be; it is written only for ``preprocess``.
            preprocess: the preprocessor's output for what is there. Not called where a family's headers are known.

        Raises:
            NotUnderstood: of ``preprocess``; or its output has no one place for the kernels.
        """
        with self._lock:
            headers = self._families.setdefault(family, _Headers())
        with headers.lock:
            if not headers.text:
                source.write_text(group_source(family.prologue, [_KERNELS]))
                text = preprocess()
                if text.count(_PLACE) != 1:
                    raise NotUnderstood(f"the preprocessor left {text.count(_PLACE)} places for the kernels")
                headers.text, headers.source = text, str(source)
        kernels = ",\n".join(map(pointer, references))
        return headers.text.replace(headers.source, str(source)).replace(_PLACE, kernels)
