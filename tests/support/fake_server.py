"""A stand-in for SGLang's and vLLM's servers: it answers requests, and puts files where DeepGEMM's kernels would be.

``FAKE_LIVE=1``: a prompt of 17 tokens compiles one more. ``FAKE_ENDS=1``: it ends before it is ready.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CACHE = Path(os.environ["DG_JIT_CACHE_DIR"], "cache")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._answer(200 if time.monotonic() > READY else 503)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tokens = body["input_ids"] if self.path == "/generate" else body["prompt"]
        if os.environ.get("FAKE_LIVE") and len(tokens) == 17:
            (CACHE / "kernel.live").mkdir(exist_ok=True)
        self._answer(200)

    def _answer(self, code: int) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64


if __name__ == "__main__":
    print("started with", *sys.argv[1:], flush=True)
    print(f"[{time.strftime('%Y-%m-%d %H:%M:%S')}] kregistry: a line of ours", flush=True)
    if os.environ.get("FAKE_ENDS"):
        raise SystemExit("it ends on purpose")
    for name in ("kernel.a", "kernel.b"):
        (CACHE / name).mkdir(parents=True, exist_ok=True)
    READY = time.monotonic() + 0.2
    Server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
