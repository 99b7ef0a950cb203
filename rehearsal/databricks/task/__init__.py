"""What runs a job's tasks, in processes of the engine's own interpreter.

It has the standard library and what the engine brings; its modules import nothing else of the
rehearsal's.
"""
