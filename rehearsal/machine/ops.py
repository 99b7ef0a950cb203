"""`python -m ops`, started warm: its imports are most of each command otherwise (see warm.py)."""

import os
import runpy
import sys


def warm_up() -> None:
    """Imports what commands use of other packages, and nothing of any repository's."""
    import boto3
    import click  # noqa: F401
    import rich.console
    import rich.table  # noqa: F401
    import yaml  # noqa: F401

    for service in ("codepipeline", "codebuild", "cloudformation", "logs", "secretsmanager"):
        boto3.session.Session().client(
            service, "us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
        )


def main(arguments: list[str]) -> int:
    """Runs `python ARGUMENTS` for -m, as Python does: the directory comes first on its path."""
    flag, module, *rest = arguments
    assert flag == "-m", arguments
    # Those of the server were made for other files: they may be asked to seek.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.path.insert(0, os.getcwd())
    sys.argv = [module, *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
