"""Serving: decides what ``registry[name](...)`` calls. Sealing makes it DeepGEMM's own function."""

from kregistry.serving.dispatch import Dispatch
from kregistry.serving.policy import Unseen

__all__ = ["Dispatch", "Unseen"]
