"""The version of the installed DeepGEMM.

It is the version that the module itself states (``deep_gemm.__version__``), and PEP 440 specifiers of kernel types are
compared with it. The version of the distribution is not used where the module states one: a copy in an engine's wheel
has no distribution, and builds from source add a local label (``2.1.1+c9f8b34``). Both agree in sgl-deep-gemm
0.1.4.post1 and 0.2.3.post2.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib import metadata
from pathlib import Path

from kregistry.deep_gemm.variables import Series

#: Distributions that bring the module ``deep_gemm``. The name ``deep-gemm`` on PyPI is not one of them.
_DISTRIBUTIONS = ("sgl-deep-gemm", "deep_gemm")
_ASSIGNMENT = re.compile(r"""^__version__\s*=\s*['"]([^'"]+)['"]""", re.MULTILINE)

#: The answer if DeepGEMM is installed and states no version that PEP 440 allows. It compares as 0.
UNKNOWN = "0+unknown"


def deep_gemm_version() -> str | None:
    """The version of the installed DeepGEMM, a valid PEP 440 version; ``None`` if there is no such module.

    Nothing is imported: the answer is the same before and after the import of ``deep_gemm``.
    """
    module = sys.modules.get("deep_gemm")
    if module is not None:
        return _valid(getattr(module, "__version__", None)) or _distribution_version() or UNKNOWN
    spec = importlib.util.find_spec("deep_gemm")
    if spec is None:
        return None
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    stated = next(filter(None, map(_stated_version, places)), None)
    return stated or _distribution_version() or UNKNOWN


def _stated_version(package: Path) -> str | None:
    """What ``__version__`` will be: the text of a file VERSION (sgl-deep-gemm), or a literal in ``__init__.py``."""
    try:
        return _valid((package / "VERSION").read_text(encoding="utf-8").strip())
    except OSError:
        pass
    try:
        found = _ASSIGNMENT.search((package / "__init__.py").read_text(encoding="utf-8"))
    except OSError:
        return None
    return _valid(found.group(1)) if found else None


def _distribution_version() -> str | None:
    for name in _DISTRIBUTIONS:
        try:
            return _valid(metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    return None


def _valid(version: object) -> str | None:
    from packaging.version import InvalidVersion, Version

    try:
        Version(str(version))
    except InvalidVersion:
        return None
    return str(version)


def series_of(version: str | None) -> Series:
    """The series of a version: 0.2 up to 1.0 is the second one. Upstream's 1.x and 2.x, as engines copy them, are not.

    Without a version, the first series is assumed: it refuses more.
    """
    from packaging.version import Version

    parsed = Version(version or "0")
    return Series.TWO if Version("0.2") <= parsed < Version("1") else Series.ONE
