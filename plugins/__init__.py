"""Kernel types that come with kregistry, one package a family. They use only the public names of kregistry."""
