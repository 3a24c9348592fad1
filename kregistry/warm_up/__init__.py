"""Warm-up: a serving process loads every kernel before its first request."""

from kregistry.warm_up.budget import MemoryBudget
from kregistry.warm_up.warm_up import warmup
from kregistry.warm_up.warmup_report import Warmed, WarmedKernel, WarmupReport

__all__ = ["MemoryBudget", "Warmed", "WarmedKernel", "WarmupReport", "warmup"]
