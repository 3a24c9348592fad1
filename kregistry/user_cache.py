"""The directory where kregistry keeps what it could make again, unless an option or a variable names another one."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path

#: For a user without a home, as in many containers: nobody can make it, and messages name it.
_NO_HOME = Path("/proc/no-home-directory")


def user_cache() -> Path:
    """Below the user's cache directory; a place that cannot be written where the user has no home directory."""
    try:
        place = user_cache_path("kregistry")
    except RuntimeError:
        place = _NO_HOME
    return place if place.is_absolute() else _NO_HOME  # older versions of platformdirs say ~/.cache, literally
