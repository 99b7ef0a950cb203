"""The code that the job and the pipeline share."""
