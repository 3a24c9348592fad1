"""Plans: which kernels DeepGEMM will JIT, found by running its host code on a stub GPU."""

from kregistry.plan.plan import Plan, PlannedEntry, Refusal, Segment
from kregistry.plan.planner import make_plan

__all__ = ["Plan", "PlannedEntry", "Refusal", "Segment", "make_plan"]
