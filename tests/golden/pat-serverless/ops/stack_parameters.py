"""Prints parameters for `make stack` as JSON: the defaults in cicd/stack.yml, and what is given.

`aws cloudformation deploy` keeps a parameter's old value unless it is told otherwise, so without
this a default that changed in the repository would never reach the stack.
"""

import json
import sys
from pathlib import Path

import yaml

STACK_FILE = Path(__file__).parent.parent / "cicd" / "stack.yml"


class Loader(yaml.SafeLoader):
    """Reads a template's parameters; its !Ref and the like are of no interest here."""


Loader.add_multi_constructor("!", lambda *_: None)


def parameters(text: str, given: list[str]) -> dict[str, str]:
    """Parameter values by name: the template's defaults, overridden by `given` (Name=Value)."""
    declared = yaml.load(text, Loader)["Parameters"]
    values = {name: str(item["Default"]) for name, item in declared.items() if "Default" in item}
    for item in given:
        name, _, value = item.partition("=")
        if name not in declared:
            sys.exit(f"stack_parameters.py: no parameter {name}; there are: {', '.join(declared)}")
        values[name] = value
    return values


if __name__ == "__main__":
    values = parameters(STACK_FILE.read_text(encoding="utf-8"), sys.argv[1:])
    print(json.dumps([f"{name}={value}" for name, value in values.items()]))
