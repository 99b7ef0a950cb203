"""What the files of this repository say, for the probes to compare with."""

import contextlib
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import yaml
from stack_parameters import parameters

from probes import Problem

ROOT = Path(__file__).parent.parent.parent


@contextlib.contextmanager
def reading(file: str) -> Iterator[str]:
    """The file's text. What is wrong with it while it is read becomes a Problem."""
    try:
        yield (ROOT / file).read_text(encoding="utf-8")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        raise Problem(f"{file} cannot be read", "make check") from None


class Project:
    """This repository; `given` are parameters of the stack on the command line (Name=Value)."""

    def __init__(self, given: list[str]) -> None:
        self.given = given

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The parameters that `make stack` would pass."""
        with reading("cicd/stack.yml") as text:
            return parameters(text, self.given)

    @cached_property
    def resource_types(self) -> set[str]:
        """The types of the stack's resources."""
        with reading("cicd/stack.yml") as text:
            resources = re.search(r"^Resources:.*?(?=^\w|\Z)", text, re.MULTILINE | re.DOTALL)[0]
            return set(re.findall(r"\bType: (AWS::\w+::\w+)", resources))

    @cached_property
    def cli_version(self) -> str:
        """The version of the Databricks CLI that builds install."""
        with reading("cicd/tools.env") as text:
            return re.search(r"^DATABRICKS_CLI_VERSION=(.+)$", text, re.MULTILINE)[1]

    def host(self, target: str) -> str:
        """The workspace's address that databricks.yml has for a target."""
        with reading("databricks.yml") as text:
            return str(yaml.safe_load(text)["targets"][target]["workspace"]["host"])
