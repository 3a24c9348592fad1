"""Shared front ends: the headers of a family of kernels parsed once for several of them."""
