#!/bin/sh
# DeepGEMM runs this in place of nvcc (DG_JIT_NVCC_COMPILER) while a JIT monitor is on. Calls with --version, and all calls
# after the directory of the monitor is removed, go straight to the real compiler.
if [ "$1" = --version ] || [ ! -d "$KREGISTRY_MONITOR" ]; then exec "$KREGISTRY_MONITORED_NVCC" "$@"; fi
exec "$KREGISTRY_MONITOR_PYTHON" -IS "${0%/*}/substitute_compiler.py" "$@"
