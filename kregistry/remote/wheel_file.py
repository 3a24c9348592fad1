"""A wheel that holds the kernels of one plan, the same to the byte wherever it is made: ``pip install`` brings them.

It holds a package of data, in the layout of a directory remote, and an entry point by which kregistry finds it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path

from packaging.version import InvalidVersion, Version

from kregistry.errors import InputError
from kregistry.remote.installed import WHEELS

_FILE = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9_.]*[A-Za-z0-9])?)-(?P<version>[^-]+)-py3-none-any\.whl")
_EXAMPLE = "the name of a wheel says what it is: deepseek_v3_h100-1.0-py3-none-any.whl"
#: The earliest time that a zip file can hold.
_TIME = (1980, 1, 1, 0, 0, 0)


def wheel_name(path: Path) -> tuple[str, str]:
    """The name and the version of the distribution, as the name of its file says.

    Raises:
        InputError: it is not the name of a wheel that pip takes.
    """
    found = _FILE.fullmatch(path.name)
    if found is None:
        raise InputError(f"bundle --wheel {path}: expected NAME-VERSION-py3-none-any.whl", _EXAMPLE)
    try:
        version = Version(found["version"])
    except InvalidVersion as error:
        raise InputError(f"bundle --wheel {path}: {error}", _EXAMPLE) from error
    if str(version) != found["version"]:
        raise InputError(f"bundle --wheel {path}: pip writes the version as {version}", _EXAMPLE)
    return found["name"], found["version"]


def wheel_of(name: str, version: str, objects: Iterable[tuple[str, bytes]], summary: str) -> bytes:
    """The content of a wheel.

    Args:
        name, version: of the distribution.
        objects: names and contents as in a directory remote.
        summary: one line that says what the kernels are for.
    """
    package = f"kregistry_kernels_{re.sub('[^a-z0-9]+', '_', name.lower())}"
    information = f"{name}-{version}.dist-info"
    words = " ".join(summary.split())
    files = {
        f"{package}/__init__.py": f'"""Kernels of DeepGEMM, read by kregistry: {words}."""\n'.encode(),
        **{f"{package}/{object_name}": content for object_name, content in objects},
    }
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: DeepGEMM kernels: {words}\n"
    described = {
        "METADATA": metadata,
        "WHEEL": "Wheel-Version: 1.0\nGenerator: kregistry\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": f"[{WHEELS}]\n{name} = {package}\n",
    }
    files = dict(sorted(files.items()))
    files |= {f"{information}/{file}": text.encode() for file, text in described.items()}
    record = "".join(f"{file},sha256={_digest(content)},{len(content)}\n" for file, content in files.items())
    files[f"{information}/RECORD"] = f"{record}{information}/RECORD,,\n".encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as wheel:
        for file, content in files.items():
            member = zipfile.ZipInfo(file, _TIME)
            member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            wheel.writestr(member, content, zipfile.ZIP_DEFLATED, 9)
    return made.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
