"""The builds' Python, imported straight from the template: it holds no Jinja."""

import importlib
import sys
from types import ModuleType

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
