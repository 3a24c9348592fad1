"""Warm-up: a serving process loads every kernel before its first request."""

from kregistry.events.warmed import Warmed, WarmedKernel, WarmupOutcome
from kregistry.warm_up.budget import MemoryBudget
from kregistry.warm_up.observer import WarmupObserver
from kregistry.warm_up.warm_up import warmup
from kregistry.warm_up.warmup_report import WarmupReport

__all__ = ["MemoryBudget", "Warmed", "WarmedKernel", "WarmupObserver", "WarmupOutcome", "WarmupReport", "warmup"]
