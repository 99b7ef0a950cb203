"""The builds' Python, imported straight from the template: it holds no Jinja."""

import importlib
import sys
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from conftest import ROOT

STEPS = ROOT / "{{cookiecutter.project_slug}}/cicd/steps"


def load(name: str) -> ModuleType:
    """The module of that name, as the other steps import it."""
    if str(STEPS) not in sys.path:
        sys.path.append(str(STEPS))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return importlib.import_module(name)
    finally:
        sys.dont_write_bytecode = before


class Output(NamedTuple):
    """How a step ended, and what it and its children printed."""

    code: int
    out: str
    err: str


def run(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Output:
    """Runs a step as `python cicd/steps/NAME.py`, but in this process."""
    module = load(name)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    capfd.readouterr()
    try:
        code = module.main() or 0
    except SystemExit as stop:  # with a code, or with a message and the code 1
        code = stop.code or 0
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    return Output(code, *capfd.readouterr())
