"""Shared front ends: the headers of a family are parsed once, and several of its kernels are generated behind them."""
