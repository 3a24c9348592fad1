"""The parts of benchmarks/serving.py: each a function that takes the options and returns what it measured."""
