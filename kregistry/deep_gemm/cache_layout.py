"""Where DeepGEMM keeps its JIT cache: directories by version and environment.

What the library does, as tried with 0.1.4.post1 and 0.2.3.post2:

* A value is taken as it is. ``~`` is not expanded, and a relative path starts at the working directory of the process.
* The default is below ``$HOME``, never below the home directory of the user database. Without ``HOME``, 0.1 uses
  ``.deep_gemm`` in the working directory, and 0.2 raises an error when it needs a kernel.
* 0.1 reads ``DG_JIT_CACHE_DIR`` as one directory, ``:`` included, and treats an empty value as not set.
* 0.2 reads ``DG_JIT_CACHE_DIR`` or ``DJ_JIT_CACHE_DIR`` as directories separated by ``:``. It looks for a kernel in
  each of them, and writes to the first. An empty directory in the value, or an empty value, makes it raise an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from kregistry.deep_gemm.environment import CACHE_DIRECTORIES, DG_JIT_CACHE_DIR
from kregistry.deep_gemm.variables import Series
from kregistry.errors import MissingRequirement


@frozen
class CacheLayout:
    """How one series of DeepGEMM finds its cache.

    Attributes:
        default: name of the directory below ``HOME`` that is used if no variable is set.
        variables: environment variables that name the cache, in the order of precedence.
        several: whether a value may name several directories, separated by ``:``.
    """

    default: str
    variables: tuple[str, ...]
    several: bool

    def roots(self, environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
        """The cache directories (each holds ``cache/`` and ``tmp/``) in the order of search, at least one.

        DeepGEMM writes to the first one.
        """
        for variable in self.variables:
            value = environment.get(variable, "")
            directories = value.split(":") if self.several else [value]
            found = tuple(Path(each) for each in directories if each)
            if found:
                return found
        return (Path(environment.get("HOME", "")) / self.default,)


#: DeepGEMM 0.1, and the copies in engines that derive from it.
SERIES_1 = CacheLayout(".deep_gemm", (DG_JIT_CACHE_DIR,), several=False)
#: DeepGEMM 0.2.
SERIES_2 = CacheLayout(".dj", CACHE_DIRECTORIES, several=True)


def layout_of(cache_entry: Path) -> CacheLayout:
    """The layout that a kernel was planned for; ``cache_entry`` is its directory below the home of the dry run."""
    return SERIES_2 if cache_entry.parts[0] == SERIES_2.default else SERIES_1


def all_roots(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The cache directories of every layout, for a process that does not know yet which DeepGEMM it will load."""
    return tuple(dict.fromkeys([*SERIES_1.roots(environment), *SERIES_2.roots(environment)]))


def check_layout(series: Series, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse an environment in which DeepGEMM would find no JIT cache. Only 0.2 does that, with an error of its own.

    Raises:
        MissingRequirement: naming the variable.
    """
    if series is Series.ONE:
        return
    name = next((each for each in SERIES_2.variables if each in environment), None)
    if name is None and not environment.get("HOME"):
        text = "HOME is not set, and DeepGEMM 0.2 then finds no JIT cache"
        raise MissingRequirement(text, f"set HOME or {DG_JIT_CACHE_DIR}")
    if name is not None and "" in environment[name].split(":"):
        text = f"{name}={environment[name]}: DeepGEMM 0.2 accepts no empty directory"
        raise MissingRequirement(text, f"unset {name}, or name one or more directories, separated by ':'")
