"""Signatures: who made a kernel, and whose kernels are taken."""
