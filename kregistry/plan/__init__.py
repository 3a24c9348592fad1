"""Plans: which kernels DeepGEMM will JIT, found by running its host code on a stub GPU."""

from kregistry.plan.make import make_plan
from kregistry.plan.model import Plan, PlannedEntry, Refusal, Segment

__all__ = ["Plan", "PlannedEntry", "Refusal", "Segment", "make_plan"]
