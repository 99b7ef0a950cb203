"""A bundle: its YAML files, one target, variables, paths, and what is wrong with them."""

from rehearsal.databricks.bundle.bundle import VERSION, Bundle

__all__ = ["VERSION", "Bundle"]
