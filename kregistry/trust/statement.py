"""Statements of in-toto with the provenance of SLSA: what was made, and from what.

https://in-toto.io/Statement/v1 and https://slsa.dev/provenance/v1. A statement is parsed only after its signature was
found to be right.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from attrs import field, frozen

from kregistry.bounded_input import parse_json
from kregistry.errors import InputError

_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://slsa.dev/provenance/v1"
_BUILD = "urn:kregistry:build:1"
SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"


@frozen
class Provenance:
    """What a kernel was made from, as far as its builder says.

    Attributes:
        target: the GPU that was planned for.
        versions: ``deep_gemm``, ``torch``, ``nvcc`` -> version.
        sources: the sha256 of each source by the key of its kernel.
        materials: name -> sha256 of what all kernels were made from: a manifest, a lock file, headers.
    """

    target: str = ""
    versions: Mapping[str, str] = field(factory=dict)
    sources: Mapping[str, str] = field(factory=dict)
    materials: Mapping[str, str] = field(factory=dict)


@frozen
class Statement:
    """What a signer says.

    Attributes:
        name: what it is about: the key of a kernel, or what a bundle is for.
        subjects: name -> sha256 of each thing that it covers.
        serial: when it was signed, in milliseconds since 1970: a later statement has a larger one.
        deep_gemm: the version of DeepGEMM; may be empty.
        target: the GPU that was planned for; may be empty.
    """

    name: str
    subjects: Mapping[str, str]
    serial: int
    deep_gemm: str = ""
    target: str = ""

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """
        Raises:
            ValueError: it is not a statement that kregistry writes.
        """
        content = parse_json(payload)
        try:
            if (content["_type"], content["predicateType"]) != (_TYPE, _PREDICATE):
                raise ValueError("another type of statement")
            definition = content["predicate"]["buildDefinition"]
            if definition["buildType"] != _BUILD:
                raise ValueError("another type of build")
            subjects = {each["name"]: each["digest"]["sha256"] for each in content["subject"]}
            parameters, serial = definition["externalParameters"], definition["internalParameters"]["serial"]
            found = cls(parameters["name"], subjects, serial, parameters["deep_gemm"], parameters["target"])
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("a part of it is missing") from error
        texts = (found.name, found.deep_gemm, found.target, *subjects, *subjects.values())
        if not all(isinstance(each, str) for each in texts) or len(subjects) != len(content["subject"]):
            raise ValueError("a part of it is of another type, or is there twice")
        if type(serial) is not int or serial < 0:
            raise ValueError("its serial is not a number")
        return found


def statement_of(
    name: str, subjects: Mapping[str, str], provenance: Provenance, serial: int, sources: Mapping[str, str]
) -> bytes:
    """The JSON of a statement.

    Args:
        name, subjects, serial: see :class:`Statement`.
        provenance: of all subjects.
        sources: name -> sha256 of the sources, as materials.
    """
    materials: list[dict[str, Any]] = [
        {"uri": f"pkg:generic/{quote(package)}@{quote(number)}"} for package, number in provenance.versions.items()
    ]
    named = {**provenance.materials, **sources}
    materials += [{"name": each, "digest": {"sha256": digest}} for each, digest in sorted(named.items())]
    content = {
        "_type": _TYPE,
        "subject": [{"name": each, "digest": {"sha256": digest}} for each, digest in sorted(subjects.items())],
        "predicateType": _PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD,
                "externalParameters": {
                    "name": name,
                    "target": provenance.target,
                    "deep_gemm": provenance.versions.get("deep_gemm", ""),
                },
                "internalParameters": {"serial": serial, "signed_on": platform.machine()},
                "resolvedDependencies": materials,
            },
            "runDetails": {
                "builder": {"id": f"urn:kregistry:{version('kregistry')}"},
                "metadata": {"finishedOn": _date(serial)},
            },
        },
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def serial_of_now() -> int:
    """The time in milliseconds; of ``SOURCE_DATE_EPOCH`` (seconds), where it is set.

    Raises:
        InputError: that variable is not a number of seconds.
    """
    given = os.environ.get(SOURCE_DATE_EPOCH, "")
    if not given:
        return time.time_ns() // 1_000_000
    if not (given.isascii() and given.isdigit() and len(given) < 12):
        raise InputError(f"{SOURCE_DATE_EPOCH}={given[:40]}: expected a number of seconds since 1970")
    return int(given) * 1000


def _date(serial: int) -> str:
    try:
        return datetime.fromtimestamp(serial / 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError):
        return ""
