"""What AWS runs. A package, so that no other `cicd` on a PYTHONPATH is taken for this one."""
