"""Where a tier is, and what may be done with it: ``s3://bucket/prefix?ro``."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import frozen

from kregistry.errors import InputError, shorten
from kregistry.remote.installed import installed_wheels

#: Names of the environment variables that say which tiers a build uses.
KREGISTRY_REMOTE = "KREGISTRY_REMOTE"
#: The ends of the names of bundles.
SUFFIXES = (".tar.gz", ".tgz")
#: Stands before the name of an installed wheel; alone, for all of them.
WHEEL = "wheel:"
_NO_WHEEL = "kregistry bundle --wheel FILE writes one, and pip installs it"
_SCHEMES = ("s3", "gs", "az", "http", "https", "file", "memory")
_OPTIONS = ("ro", "unsigned")
#: The user and password of a URL, wherever a text holds one.
CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")


@frozen
class Location:
    """One tier.

    Attributes:
        url: as an object store's library takes it, without options and without user name and password.
        secret_url: the same with them.
        read_only: nothing is written, unless it is signed.
        never_written: nothing is written, signed or not.
        unsigned: kernels are taken and written without a signature.
    """

    url: str
    secret_url: str
    read_only: bool
    never_written: bool = False
    unsigned: bool = False

    @classmethod
    def parse(cls, text: str) -> Location:
        """
        Raises:
            InputError: it is not a URL of a known kind, or has an unknown option.
        """
        if text.startswith(WHEEL):
            return cls._of_wheel(text)
        address, _, query = text.partition("?")
        options = [each for each in query.split("&") if each]
        unknown = [each for each in options if each not in _OPTIONS]
        if unknown:
            raise InputError(
                f"remote {_plain(address)}: unknown option {unknown[0]!r}", f"known: {', '.join(_OPTIONS)}"
            )
        if not address:
            raise InputError(f"remote {text[:80]!r}: no URL", "a directory, or e.g. s3://bucket/kernels")
        try:
            if "://" not in address:
                _refuse_what_is_no_directory(address)
                address = Path(address).absolute().as_uri()
            scheme = urlsplit(address).scheme
        except (OSError, ValueError) as error:  # too long for a path, an address that no URL can have
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"remote {shorten(address.rpartition('@')[2])}: {reason}") from error
        if scheme not in _SCHEMES:
            raise InputError(f"remote {_plain(address)}: {scheme!r} is not known", f"known: {', '.join(_SCHEMES)}")
        never, unsigned = "ro" in options, "unsigned" in options
        return cls(_plain(address), address, never or not unsigned, never, unsigned)

    @classmethod
    def of_wheels(cls) -> tuple[Location, ...]:
        """The kernels of every installed wheel."""
        return tuple(cls._of_wheel(f"{WHEEL}{name}") for name in installed_wheels())

    @classmethod
    def _of_wheel(cls, text: str) -> Location:
        address, question, _ = text.partition("?")
        if question:
            raise InputError(f"remote {address}: an installed wheel has no options")
        return cls(address, address, read_only=True, never_written=True)

    def wheel(self) -> str | None:
        """The name of an installed wheel; ``None`` for any other tier."""
        return self.url.removeprefix(WHEEL) if self.url.startswith(WHEEL) else None

    def file(self) -> Path | None:
        """The path of a tier on this machine; ``None`` for any other."""
        parts = urlsplit(self.secret_url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    def bundle(self) -> Path | None:
        """The path of a tier that is one file, as ``kregistry bundle --tar`` writes it; ``None`` for any other."""
        path = self.file()
        return path if path is not None and path.name.endswith(SUFFIXES) else None

    @classmethod
    def parse_all(cls, text: str) -> tuple[Location, ...]:
        """Tiers separated by commas or spaces, the nearest first. ``wheel:`` stands for all installed wheels.

        Raises:
            InputError: one of them is wrong; no wheel is installed; or a part looks like the rest of a path with a
                space or a comma.
        """
        parts = text.replace(",", " ").split()
        for part in parts if len(parts) > 1 else ():
            if "://" not in part and not part.startswith(WHEEL) and not Path(part).is_absolute():
                raise InputError(
                    f"remote {_without_secrets(text)}: {shorten(part)!r} is neither a URL nor an absolute path",
                    "commas and spaces separate remotes; in a path write %20 and %2C: file:///srv/my%20kernels",
                )
        return tuple(found for part in parts for found in (cls._all_wheels() if part == WHEEL else (cls.parse(part),)))

    @classmethod
    def _all_wheels(cls) -> tuple[Location, ...]:
        if not cls.of_wheels():
            raise InputError(f"remote {WHEEL}: no wheel with kernels is installed", _NO_WHEEL)
        return cls.of_wheels()

    @classmethod
    def parse_some(cls, text: str) -> tuple[Location, ...]:
        """The same, for a text that must name one.

        Raises:
            InputError: as of :meth:`parse_all`, or it is empty.
        """
        return cls.parse_all(text) or (cls.parse(""),)


def _refuse_what_is_no_directory(path: str) -> None:
    """A URL with a slash too few, and a file that stands where the URL was forgotten, are no new directories."""
    scheme, colon, rest = path.partition(":")
    if colon and scheme.lower() in _SCHEMES and not Path(path).exists():
        meant = f"{scheme.lower()}://{'/' if scheme.lower() == 'file' else ''}{rest.lstrip('/')}"
        shown = f"{scheme}:{rest.rpartition('@')[2]}" if "@" in rest else path
        raise InputError(f"remote {shown}: no such directory, and not a URL", f"did you mean {_plain(meant)}?")
    if Path(path).is_file() and not path.endswith(SUFFIXES):
        raise InputError(
            f"remote {path}: a file, where a URL or a directory is expected",
            "the URL of the remote comes before FILE; a file is a remote only if `kregistry bundle --tar` wrote it",
        )


def _without_secrets(text: str) -> str:
    return shorten(CREDENTIALS.sub("", text))


def _plain(address: str) -> str:
    """A URL without user name and password, which messages must not show."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
