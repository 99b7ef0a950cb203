"""What runs a job's tasks, in processes of the engine's own interpreter.

It has the standard library and what the engine brings; no module in here imports another one of the
rehearsal's.
"""
