#!/bin/sh
# Stands in for nvcc in a dry run (DG_JIT_NVCC_COMPILER). It answers --version as the real compiler does. For a
# compile it writes, as the "cubin", its own arguments, each ended by a NUL, then one more NUL and the source: DeepGEMM
# moves that file to where the real cubin would be, beside whatever else its version writes, and so the command
# travels with the kernel that it makes.
set -e # a full disk must not look like a compile
case "$1" in --version) exec "$KREGISTRY_NVCC" --version ;; esac
output=
source=
previous=
for argument in "$@"; do
  case "$previous" in -o | --output-file) output=$argument ;; esac
  case "$argument" in *.cu) source=$argument ;; esac
  previous=$argument
done
{
  printf '%s\0' "$@"
  printf '\0'
  cat "$source"
} >"$output"
