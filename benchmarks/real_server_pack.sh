#!/usr/bin/env bash
# On a machine with a package index: pack an engine and DeepGEMM for a GPU machine that has torch 2.11 and no index.
#     real_server_pack.sh ENGINE-VERSION PACKED [PRESENT]
# ENGINE-VERSION: sglang-0.5.16 or vllm-0.26.0. PACKED: a new directory for real_server_setup.sh.
# PRESENT: what `python3 -m pip list --format=freeze` prints on the GPU machine. Its packages are left out, except those
# that the engine needs in another version (.ci/engines-a.txt, .ci/vllm-a.txt). PYTHON names an interpreter of the GPU machine's version (3.12).
# What servers of DeepSeek-V3, V3.2 and Qwen3 on a Hopper GPU do not load is left out: FlashAttention 3 of SGLang,
# FlashAttention 2 and Mistral's tokenizers of vLLM, and GPU code of other architectures (device_code.py).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
engine=$1
mkdir -p "$2"
packed=$(cd "$2" && pwd)
present=${3:-/dev/null}
python=${PYTHON:-python3.12}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

normal() { tr '_[:upper:]' '-[:lower:]'; }
"$here/../.ci/engine-list" "$engine" | normal >"$work/all"
case $engine in sglang-*) own=engines-a.txt ;; *) own=vllm-a.txt ;; esac
# What the engine's own list names must have that version; torch's companions are the GPU machine's in any case.
grep -v -E '^(#|torchvision=|nvidia-ml-py=)' "$here/../.ci/$own" | normal >"$work/needed"
normal <"$present" | awk -F'==' '
  FILENAME == ARGV[1] {needed[$1] = $2; next}
  FILENAME == "-" && (!($1 in needed) || needed[$1] == $2) {there[$1]}
  FILENAME == ARGV[3] && !($1 in there)' "$work/needed" - "$work/all" >"$work/list"
printf '%s\n' sgl-deep-gemm==0.1.4.post1 apache-tvm-ffi==0.1.11 cattrs platformdirs pluggy attrs >>"$work/list"
"$python" -m pip install -q --no-deps --no-compile --target "$work/site" -r "$work/list"

cd "$work/site"
rm -rf sgl_kernel/flash_ops* sgl_kernel/sm100 sgl_kernel/infllm_ops* sglang/multimodal_gen sglang/test bin
rm -rf vllm/vllm_flash_attn/_vllm_fa2_C* vllm/third_party/fmha_sm100* vllm/_qutlass_C* vllm/vllm-rs pycountry/locales mistral_common/data
find . -name '*.so' -size +2M -print0 | xargs -0 -r -n 1 "$python" "$here/real_server_parts/device_code.py" --keep 90
tar -cf - . | xz -T0 -8 >"$packed/$engine.tar.xz"
du -m "$packed/$engine.tar.xz"
