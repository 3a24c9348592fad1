#!/bin/sh
# On a GPU machine whose Python has another torch for the same CUDA: run a Python script with the torch of the second stack.
#     second_stack.sh install PIECES WHEELS    join the pieces (wheel_pieces.py), install them and WHEELS/*.whl
#     second_stack.sh SCRIPT [ARGUMENTS]       run a Python script with them
# The CUDA libraries are those of the torch that is there. What they do not have is filled by functions that abort.
set -e
here=$(dirname "$0")
site=${KREGISTRY_SITE:-$HOME/kregistry-second-stack}
if [ "$1" = install ]; then
  python3 "$here/wheel_pieces.py" join "$2" "$2/whole"
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" "$2"/whole/*.whl "$3"/*.whl
  nvidia=$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0])')
  ln -sfn "$nvidia" "$site/nvidia"
  python3 "$here/missing_symbols.py" "$site/torch/lib" "$nvidia"/nccl/lib/libnccl.so.2 "$nvidia"/cudnn/lib/libcudnn.so.9 \
    "$nvidia"/cusparselt/lib/libcusparseLt.so.0 "$nvidia"/nvshmem/lib/libnvshmem_host.so.3 >"$site/missing.c"
  grep '^void' "$site/missing.c" | sed 's/^void \([a-zA-Z]*\).*/not in the libraries that are there: \1/'
  cc -shared -fPIC -o "$site/libmissing.so" "$site/missing.c"
  set -- -c 'import torch, deep_gemm; print(torch.__version__, deep_gemm.__version__, torch.cuda.get_device_name(0))'
fi
export PYTHONPATH="$site" PYTHONUNBUFFERED=1 LD_PRELOAD="$site/libmissing.so"
# Bytecode is kept, as an installed package has it: without, each process compiles torch's modules for three seconds.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="${TMPDIR:-/tmp}/kregistry-bytecode-second-stack"
exec python3 -W ignore "$@"
