"""CodeBuild: runs a project's build from its buildspec. service.py is where to begin."""
