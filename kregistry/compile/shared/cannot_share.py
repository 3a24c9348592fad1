"""Why a front end is not shared: not an error, the kernels are compiled one by one instead."""

from __future__ import annotations


class CannotShare(Exception):
    """Something whose effect on the code is not known; the text says what."""
