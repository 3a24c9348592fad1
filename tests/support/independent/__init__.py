"""A second set of subtly wrong kernel types, written from docs/write-a-kernel-type.md alone.

Who wrote it had not read the first set (tests/support/mutants.py). :mod:`.catalogue` lists the second.
"""
