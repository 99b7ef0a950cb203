"""The Python of the template, and what it renders, as ruff and mypy see it."""

import subprocess

from conftest import ROOT, TEMPLATE


def test_make_lint_finds_nothing_and_leaves_nothing_to_render() -> None:
    before = sorted(TEMPLATE.rglob("*"))
    # -o: the environment is there, whatever its age
    lint = ["make", "--silent", "-o", ".venv/ready", "lint"]
    result = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert sorted(TEMPLATE.rglob("*")) == before
