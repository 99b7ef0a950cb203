"""A nutter fixture that nothing runs would go unnoticed."""

import ast
from pathlib import Path

import pytest

NUTTER = Path(__file__).parents[1] / "nutter"
FIXTURES = sorted(path.stem for path in NUTTER.glob("*_fixture.py"))


@pytest.mark.parametrize("fixture", FIXTURES)
def test_every_fixture_is_run(fixture):
    runner = (NUTTER / "run_fixtures.py").read_text()
    nodes = ast.parse((NUTTER / f"{fixture}.py").read_text()).body
    classes = [node.name for node in nodes if isinstance(node, ast.ClassDef)]

    assert f"# MAGIC %run ./{fixture}\n" in runner
    assert classes, "no fixture class"
    assert [name for name in classes if name not in runner] == []
