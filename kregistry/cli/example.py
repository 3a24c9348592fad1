"""A small manifest to start from: kregistry init --example."""

from __future__ import annotations

EXAMPLE = """\
# Which DeepGEMM functions a model calls, with which shapes, and for which m
# (numbers of tokens). kregistry list NAME explains every dimension, and
# kregistry check reports mistakes.
version: 1
target: h100 # the GPU to plan for; it need not be here: kregistry targets
models:
  my-model:
    kernels:
      - type: fp8_gemm_nt # a kernel type: kregistry list
        label: o_proj # any name of your own
        shape: {n: 7168, k: 2048} # [a, b] instead of a number: an entry each
        m: {start: 1, stop: 4096} # every number of tokens of a call
      - type: tf32_hc_prenorm_gemm
        label: hc_prenorm
        # occupancy: num_splits follows from m and the SMs, as in the engines
        shape: {n: 24, k: 28672, num_splits: occupancy}
        m: {stop: 1024}
"""
