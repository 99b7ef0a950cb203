"""Runs the tasks of jobs in processes of the engine's own interpreter."""
