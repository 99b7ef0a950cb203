"""{{ cookiecutter.project_name }}: the code that the job and the pipeline share."""
