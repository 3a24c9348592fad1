"""The stub GPU: a fake CUDA device, and a pool of processes that run DeepGEMM's host code on it."""
