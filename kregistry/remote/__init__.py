"""Copies of kernels in object stores, directories and web servers, shared by many machines."""
