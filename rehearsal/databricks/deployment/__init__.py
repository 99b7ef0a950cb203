"""Deployments of a bundle: what is deployed, what would change, and changing it.

Follows bundle/direct of github.com/databricks/cli, as that client's test workspace shows it.
"""
