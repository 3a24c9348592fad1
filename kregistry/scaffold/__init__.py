"""Scaffold: writes a complete plugin with one kernel type, as a starting point."""

from kregistry.scaffold.plugin import PluginNames, write_plugin

__all__ = ["PluginNames", "write_plugin"]
