"""The parts of benchmarks/faults.py: each does one kind of harm, and counts what went wrong."""
