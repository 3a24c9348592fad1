"""Writes a plugin from the template; all its names are derived from one name."""

from __future__ import annotations

import keyword
import re
import shutil
from importlib import resources
from pathlib import Path
from string import Template

from attrs import frozen

import kregistry
from kregistry.errors import InputError, StorageError, quoted

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TEMPLATE = resources.files(__package__) / "template"
#: What YAML reads as something else than text. A manifest gives the name of a kernel type, without quotes.
_YAML_WORDS = frozenset(("null", "true", "false", "on", "off", "yes", "no", "y", "n"))
#: File of the template -> path in the plugin; the module has the name of the plugin.
_FILES = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "module.py.in": "$module.py",
    "tests/test_conformance.py.in": "tests/test_conformance.py",
    "tests/test_installed.py.in": "tests/test_installed.py",
}


@frozen
class PluginNames:
    """The names in a plugin, for ``my-gemm``.

    Attributes:
        distribution: ``kregistry-my-gemm``.
        module: ``kregistry_my_gemm``.
        type: name of the kernel type, ``my_gemm``.
        cls: name of its class, ``MyGemm``.
    """

    distribution: str
    module: str
    type: str
    cls: str

    @classmethod
    def from_name(cls, name: str) -> PluginNames:
        """
        Raises:
            InputError: the name cannot be the name of a distribution and a kernel type.
        """
        stem = name.removeprefix("kregistry-")
        kernel_type = stem.replace("-", "_")
        if _NAME.fullmatch(stem) is None or keyword.iskeyword(kernel_type):
            near = re.sub(r"[_ ]", "-", stem.lower())
            hint = "for example my-gemm, for the distribution kregistry-my-gemm with the kernel type my_gemm"
            raise InputError(
                f"name of a plugin: expected lower-case letters and digits, in words joined by -, got {quoted(name)}",
                f"did you mean {near!r}?" if near != stem and len(near) < 80 and _NAME.fullmatch(near) else hint,
            )
        words = "".join(word.capitalize() for word in stem.split("-"))
        names = cls(f"kregistry-{stem}", f"kregistry_{kernel_type}", kernel_type, words)
        fault = names._fault()
        if fault:
            raise InputError(f"name of a plugin: {name!r} cannot be used: {fault}", "choose another name")
        return names

    def _fault(self) -> str | None:
        """Why these names do not work, although each is well formed."""
        if self.module == "kregistry_plugins":
            return f"its module {self.module} would hide the one that kregistry installs"
        if self.type in _YAML_WORDS:
            return f"YAML does not read {self.type} as text"
        if keyword.iskeyword(self.cls) or self.cls in kregistry.__all__:
            return f"its class {self.cls} would hide a name of Python or of kregistry"
        return None


def write_plugin(name: str, parent: Path) -> tuple[Path, ...]:
    """Write the plugin into a new directory below ``parent``, and return its files.

    Raises:
        InputError: the name cannot be used, or the directory exists.
        StorageError: the directory cannot be written.
    """
    names = PluginNames.from_name(name)
    directory = parent / names.distribution
    exists = InputError(f"{directory} exists", "choose another name, or --directory")
    if directory.exists():
        raise exists
    try:
        directory.mkdir(parents=True)  # of two processes, only one makes it
    except FileExistsError as error:
        raise exists from error
    except OSError as error:
        raise StorageError.from_oserror(error, directory) from error
    values = {"distribution": names.distribution, "module": names.module, "type": names.type, "cls": names.cls}
    written: list[Path] = []
    try:
        for source, target in _FILES.items():
            path = directory / Template(target).substitute(values)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(_TEMPLATE.joinpath(source).read_text()).substitute(values))
            written.append(path)
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)  # half a plugin would be in the way of the next attempt
        raise StorageError.from_oserror(error, directory) from error
    return tuple(written)
