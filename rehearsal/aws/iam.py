"""Decides as IAM does, on the statements of a role's own policies.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import fnmatch
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Statement = Mapping[str, Any]


def as_list(value: Any) -> list:
    """One or many, as many."""
    return value if isinstance(value, list) else [value]


def like(pattern: str, value: str) -> bool:
    """IAM's wildcards: * and ?, and nothing else that fnmatch would read as one."""
    return fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))


def boolean(wanted: str, value: str) -> bool:
    """IAM writes booleans as words."""
    return str(wanted).lower() == value.lower()


def number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    """A comparison of numbers that are written as words."""
    return lambda wanted, value: compare(float(value), float(wanted))


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, value: str(wanted) == value,
    "StringNotEquals": lambda wanted, value: str(wanted) != value,
    "StringLike": like,
    "ArnLike": like,
    "ArnEquals": like,
    "Bool": boolean,
    "NumericEquals": number(operator.eq),
    "NumericLessThan": number(operator.lt),
    "NumericLessThanEquals": number(operator.le),
    "NumericGreaterThan": number(operator.gt),
    "NumericGreaterThanEquals": number(operator.ge),
}


def holds(name: str, key: str, wanted: list, context: Mapping[str, Any]) -> bool:
    """Whether one condition holds. Raises NotImplementedError for an operator that is not here."""
    quantifier, _, bare = name.rpartition(":")
    if bare == "Null":
        return (key not in context) is (str(wanted[0]).lower() == "true")
    optional, bare = bare.endswith("IfExists"), bare.removesuffix("IfExists")
    if bare not in OPERATORS or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise NotImplementedError(f"the rehearsal does not know IAM's condition operator {name}")
    if key not in context:
        return optional or quantifier == "ForAllValues"
    every = all if "Not" in bare else any
    held = [
        every(OPERATORS[bare](one, str(value)) for one in wanted) for value in as_list(context[key])
    ]
    return any(held) if quantifier == "ForAnyValue" else all(held)


def matches(statement: Statement, action: str, resource: str, context: Mapping[str, Any]) -> bool:
    """Whether a statement speaks of this call."""

    def named(key: str, value: str, fold: bool) -> bool:
        wanted = [one.lower() if fold else one for one in as_list(statement[key])]
        return any(like(one, value.lower() if fold else value) for one in wanted)

    if "Action" in statement and not named("Action", action, fold=True):
        return False
    if "NotAction" in statement and named("NotAction", action, fold=True):
        return False
    if "Resource" in statement and not named("Resource", resource, fold=False):
        return False
    if "NotResource" in statement and named("NotResource", resource, fold=False):
        return False
    return all(
        holds(name, key, as_list(wanted), context)
        for name, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def allows(
    statements: Iterable[Statement], action: str, resource: str, context: Mapping[str, Any]
) -> bool:
    """Whether the statements allow a call: one must, and none may deny it."""
    effects = {one["Effect"] for one in statements if matches(one, action, resource, context)}
    return effects == {"Allow"}


def trusts(role: Mapping[str, Any], service: str, context: Mapping[str, Any]) -> bool:
    """Whether a role's trust policy lets a service assume it."""
    statements = [
        one
        for one in role["AssumeRolePolicyDocument"]["Statement"]
        if service in as_list(one.get("Principal", {}).get("Service", []))
    ]
    return allows(statements, "sts:AssumeRole", "*", context)
