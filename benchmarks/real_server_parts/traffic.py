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


def measure(options: argparse.Namespace, server: Server, caches: Caches) -> dict[str, Any]:
    """Send the traffic of an arm.

    Returns:
        Seconds of each prompt with the kernels that appeared meanwhile, and seconds of each burst.
    """
    rng = random.Random(1)
    lengths = [each for each in (*LENGTHS, *LONG) if each <= options.longest]
    prompts = [_prompt(server, caches, rng, length) for length in lengths]
    bursts = []
    for _ in range(options.bursts):
        rng.seed(7)
        sizes = [rng.randrange(1, 1500) for _ in range(_REQUESTS)]
        tokens = [[rng.randrange(1, 1000) for _ in range(size)] for size in sizes]
        began = time.perf_counter()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda each: ask(server, each, 64), tokens))
        bursts.append(round(time.perf_counter() - began, 3))
    again = [_prompt(server, caches, rng, length) for length in _AGAIN if length <= options.longest]
    slow = max(prompts, key=lambda each: each["s"], default=None)
    return {"prompts": prompts, "slowest": slow, "bursts": bursts, "again": again}


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
