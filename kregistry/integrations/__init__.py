"""Engines that use kregistry without being changed: one package for each engine."""
