"""Serving: decides what ``registry[name](...)`` calls, which is DeepGEMM's own function after sealing."""

from kregistry.serving.dispatch import Dispatch
from kregistry.serving.policy import Unseen

__all__ = ["Dispatch", "Unseen"]
