"""The parts of benchmarks/real_server.py."""
