"""Variables, and references like `${var.catalog}` or `${bundle.target}`.

docs.databricks.com/aws/en/dev-tools/bundles/variables
"""

import difflib
import json
import os
import re
from typing import Any

from rehearsal.databricks.bundle.source import Map, Seq
from rehearsal.databricks.errors import Invalid, NotSupported

REFERENCE = re.compile(r"\$\{([a-zA-Z][\w-]*(?:\.[\w-]+|\[\d+\])+)\}")


def assign_variables(variables: Map, assigned: dict[str, str]) -> None:
    """Gives each variable its value: from the command line, the environment, or its default."""
    for name in assigned.keys() - variables.keys():
        raise Invalid(f"variable {name} has not been defined")
    for name, variable in variables.items():
        override = assigned.get(name, os.environ.get(f"BUNDLE_VAR_{name}"))
        if override is not None:
            variable["value"] = override
        elif "default" in (variable or {}):
            variable["value"] = variable["default"]
        elif "lookup" in (variable or {}):
            raise NotSupported(f"variables.{name}.lookup")


def require_values(variables: Map) -> None:
    """Raises Invalid for a variable without a value."""
    for name, variable in variables.items():
        if "value" not in (variable or {}):
            raise Invalid(
                f"no value assigned to required variable {name}. Variables are usually assigned"
                ' in databricks.yml, and they can be overridden using "--var", the'
                f" BUNDLE_VAR_{name} environment variable, or"
                " .databricks/bundle/<target>/variable-overrides.json"
            )


class Resolver:
    """Replaces references by what they name in a configuration."""

    def __init__(self, config: Map) -> None:
        self.config = config

    def resolve(self, value: Any, seen: tuple[str, ...] = ()) -> Any:
        """A copy of a value without references; those to resources stay until the deployment.

        `seen` are the references that led here. Raises Invalid.
        """
        places = getattr(value, "places", ())
        if isinstance(value, dict):
            return Map({key: self.resolve(item, seen) for key, item in value.items()}, places)
        if isinstance(value, list):
            return Seq([self.resolve(item, seen) for item in value], places)
        if not isinstance(value, str):
            return value
        if reference := REFERENCE.fullmatch(value):
            return self._look_up(reference[1], seen)
        return REFERENCE.sub(lambda match: _text(self._look_up(match[1], seen)), value)

    def _look_up(self, path: str, seen: tuple[str, ...]) -> Any:
        if path.startswith("resources."):  # the id of a resource is known once it is deployed
            return f"${{{path}}}"
        if path in seen:
            raise Invalid(f"cycle detected in field resolution: {' -> '.join([*seen, path])}")
        value: Any = self.config
        # `var.x` is short for `variables.x.value`.
        for part in re.findall(r"[\w-]+", re.sub(r"^var\.([\w-]+)", r"variables.\1.value", path)):
            if isinstance(value, str):  # the path goes on inside of what a reference names
                value = self.resolve(value, (*seen, path))
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (KeyError, IndexError, TypeError, ValueError):
                raise Invalid(f"reference does not exist: ${{{path}}}{self._hint(path)}") from None
        return self.resolve(value, (*seen, path))

    def _hint(self, path: str) -> str:
        """The variable that was probably meant."""
        variables = [f"var.{name}" for name in self.config["variables"]]
        similar = difflib.get_close_matches(path, variables, 1)
        return f"\n\ndid you mean:\n  ${{{similar[0]}}}" if similar else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
