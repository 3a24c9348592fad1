#!/bin/sh
# On a GPU machine with torch but without an engine: unpack the engine's packages, and put this checkout beside them.
#     real_server_setup.sh PACKED SITE    PACKED: what real_server_pack.sh has made
# Then run benchmarks/real_server.py with PYTHONPATH=SITE.
set -e
packed=$1
site=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$site"
for each in "$packed"/*.tar.xz; do
  if command -v xz >/dev/null; then xz -dc -T0 "$each" | tar -xf - -C "$site"; else python3 -m tarfile -e "$each" "$site"; fi
done
# SGLang imports packages that its models here do not use; vLLM looks which of them are there.
if [ -d "$site/sglang" ]; then cp "$here/real_server_parts/absent_modules.py" "$site/sitecustomize.py"; fi
python3 - "$here/.." "$site" <<'PYTHON'
"""What `pip install --editable` would do, without a build: links, and the metadata that entry points are read from."""
import sys
import tomllib
from pathlib import Path

root, site = (Path(each).resolve() for each in sys.argv[1:])
project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
for name in ("kregistry", "kregistry_plugins"):
    (site / name).unlink(missing_ok=True)
    (site / name).symlink_to((root / name).resolve())
information = site / f"kregistry-{project['version']}.dist-info"
information.mkdir(exist_ok=True)
(information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: kregistry\nVersion: {project['version']}\n")
groups = {"console_scripts": project.get("scripts", {}), **project["entry-points"]}
lines = [line for group, each in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in each.items()))]
(information / "entry_points.txt").write_text("\n".join(lines) + "\n")
PYTHON
# Each start of a server would compile them again where Python may write no bytecode. Links are not followed.
env -u PYTHONDONTWRITEBYTECODE python3 -m compileall -q -j 0 "$site" "$here/../kregistry" "$here/../plugins" >/dev/null 2>&1 || true
PYTHONPATH="$site" python3 -W ignore - <<'PYTHON'
import importlib.metadata as metadata
import importlib.util
import torch

import kregistry

gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
print("torch", torch.__version__, gpu, "| kregistry", metadata.version("kregistry"), kregistry.__file__)
for name in ("sglang", "vllm", "sgl-deep-gemm", "flashinfer-python", "sglang-kernel", "transformers"):
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        pass
for group in ("sglang.srt.plugins", "vllm.general_plugins", "kregistry"):
    print(group, [each.name for each in metadata.entry_points(group=group)])
PYTHON
