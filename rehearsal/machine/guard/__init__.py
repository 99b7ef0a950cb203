"""A folder for PYTHONPATH: the Python of builds imports its `sitecustomize` first."""
