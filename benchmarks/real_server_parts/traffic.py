"""Real HTTP requests: growing lengths one by one, then bursts of many at once."""

from __future__ import annotations

import argparse
import json
import random
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from real_server_parts.servers import Caches, Server

LENGTHS = (1, 5, 17, 33, 60, 65, 100, 129, 200, 300, 385, 513, 700, 900, 1025, 1300, 1700, 2100, 2500, 3100, 3600, 4000)
LONG = (4500, 5200, 6400, 7600, 8192, 8500)
_AGAIN = (1, 17, 100, 300, 700, 1500, 3000)
_REQUESTS, _AT_ONCE = 128, 32


def measure(options: argparse.Namespace, server: Server, caches: Caches, found: dict[str, Any]) -> None:
    """Send the traffic of an arm.

    Args:
        found: gets the seconds of each prompt with the kernels that appeared meanwhile, and of each burst.
            What would begin after ``options.ends`` is left out, and ``cut`` says so.
    """
    rng = random.Random(1)
    lengths = [each for each in (*LENGTHS, *LONG) if each <= options.longest]
    again = [each for each in _AGAIN if each <= options.longest]
    found |= {"prompts": [], "slowest": None, "bursts": [], "again": []}
    for name, of_this in (("prompts", lengths), ("bursts", range(options.bursts)), ("again", again)):
        for each in of_this:
            if time.monotonic() > options.ends:
                found["cut"] = True
                return
            found[name].append(_burst(server, rng) if name == "bursts" else _prompt(server, caches, rng, each))
            found["slowest"] = max(found["prompts"], key=lambda prompt: float(prompt["s"]), default=None)


def _burst(server: Server, rng: random.Random) -> float:
    """Seconds of 128 requests, 32 at once; the same ones each time."""
    rng.seed(7)
    sizes = [rng.randrange(1, 1500) for _ in range(_REQUESTS)]
    tokens = [[rng.randrange(1, 1000) for _ in range(size)] for size in sizes]
    began = time.perf_counter()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda each: ask(server, each, 64), tokens))
    return round(time.perf_counter() - began, 3)


def _prompt(server: Server, caches: Caches, rng: random.Random, length: int) -> dict[str, Any]:
    before = caches.kernels()
    began = time.perf_counter()
    ask(server, [rng.randrange(1, 1000) for _ in range(length)], 4)
    found = {"tokens": length, "s": round(time.perf_counter() - began, 3)}
    new = len(caches.kernels() - before)
    return {**found, "compiled": new} if new else found


def ask(server: Server, tokens: list[int], new: int) -> None:
    """One request with token ids, until its last token."""
    if server.engine == "vllm":
        path = "/v1/completions"
        body: dict[str, Any] = {"prompt": tokens, "max_tokens": new, "temperature": 0, "ignore_eos": True}
        body["return_token_ids"] = True
    else:
        path = "/generate"
        body = {"input_ids": tokens}
        body["sampling_params"] = {"max_new_tokens": new, "temperature": 0, "ignore_eos": True}
    data = json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=120).read()
