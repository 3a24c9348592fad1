"""The model families that come with kregistry, one a file.

They use only names that a third party's family can use.
"""
