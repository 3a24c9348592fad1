"""Scaffold: a complete plugin with one kernel type, to start from."""

from kregistry.scaffold.plugin import PluginNames, write_plugin

__all__ = ["PluginNames", "write_plugin"]
