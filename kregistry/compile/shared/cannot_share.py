"""Why a front end is not shared. It is not an error: the kernels are compiled one by one instead."""

from __future__ import annotations


class CannotShare(Exception):
    """Something has an effect on the code that is not known; the text says what."""
