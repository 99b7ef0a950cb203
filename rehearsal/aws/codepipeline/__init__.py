"""CodePipeline: walks executions through the stack's pipeline. service.py is where to begin."""
