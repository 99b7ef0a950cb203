"""Reads a plan of the Databricks CLI and says what it would do.

Usage: python cicd/steps/plan.py show|variables|drift PLAN.JSON

show: for a person, as Markdown. variables: for the approval, as shell. drift: for a mail, `none` or
a list. No field that looks secret is shown, nor what only the workspace adds to a resource.
"""

import argparse
import json
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import accepted
import names

ACTIONS = ("create", "update", "recreate", "delete")
SKIP = "skip"
SYNONYMS = {"update_id": "update", "resize": "update"}
DESTRUCTIVE = ("delete", "recreate")
# How an action that a plan of the deployed release holds describes prod.
DIFFERENCES = {"create": "missing", "update": "changed", "recreate": "changed", "delete": "stays"}
# Kinds of resource that hold data, or an address that others rely on: deleting one loses it.
DATA = {
    *("catalogs", "dashboards", "database_catalogs", "database_instances", "experiments"),
    *("genie_spaces", "pipelines", "postgres_branches", "postgres_databases", "postgres_projects"),
    *("models", "registered_models", "schemas", "secret_scopes", "secrets"),
    *("synced_database_tables", "vector_search_indexes", "volumes"),
}
SECRET_KEY = re.compile(r"(?i)secret|token|passw|credential|private|api_?key|access_?key")
SECRET_VALUE = re.compile(
    r"\b(dapi|dose|dkea|AKIA|ghp_|eyJ)[\w-]{8,}|-{5}BEGIN|://[^/\s:]+:[^/@\s]+@"
)
HIDDEN = "(hidden)"
OWN_FOLDER = re.compile(r"/Workspace/Users/[^/\"]+/\.bundle/[^/\"]+/[^/\"]+/")
# What the client writes into a plan in place of a secret, and would deploy from it.
REDACTED = "[redacted]"
RIGHTS = (".permissions", ".grants")  # of a resource; in a plan they are resources of their own
MOST_FIELDS, MOST_RESOURCES, MOST_LOSSES = 20, 100, 3  # of a resource, a plan, the approval
LONGEST_VALUE = 200

# A resource in a plan: {"action": "update", "changes": {path: change}, "remote_state": {...}, ...}.
# A change: {"action": "update", "old": value, "new": value, "remote": value}.
Entry = dict[str, Any]


class Damaged(Exception):
    """Why a file cannot be used as a plan."""


class Field(NamedTuple):
    """A field that a plan changes: its value in prod now, and after the deployment."""

    path: str
    before: Any
    after: Any


def changes(entry: Entry) -> dict[str, dict[str, Any]]:
    """Returns the changes of an entry by path, without those that do nothing."""
    every = entry.get("changes") or {}
    return {path: change for path, change in every.items() if change.get("action") != SKIP}


def is_settled(key: str, entry: Entry) -> bool:
    """Whether these permissions are right already, and only the client does not see it.

    After an object was recreated or renamed the client goes on reading the old one's permissions
    (databricks/cli#5587).
    """
    changed = changes(entry)
    return (
        key.endswith(RIGHTS)
        and entry["action"] == "update"
        and bool({"object_id", "full_name"} & changed.keys())
        and all(change.get("old") == change.get("new") for change in changed.values())
    )


def effective_action(key: str, entry: Entry) -> str:
    """Returns what the plan does to a resource: one of ACTIONS or SKIP, or an unknown word."""
    if is_settled(key, entry):
        return SKIP
    action = entry["action"]
    return str(SYNONYMS.get(action, action))


class Plan:
    """A plan of `databricks bundle plan -o json`. Raises Damaged for any other text.

    state: lineage and serial of the state of prod that it was made for.
    entries: every resource, by a key such as `jobs.x`.
    actions: what happens to each resource that changes, by the same key.
    """

    def __init__(self, text: str) -> None:
        try:
            data = json.loads(text)
            self.entries: dict[str, Entry] = {
                key.removeprefix("resources."): entry for key, entry in data["plan"].items()
            }
            actions = {key: effective_action(key, entry) for key, entry in self.entries.items()}
            version = data.get("plan_version")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"this is no plan ({type(error).__name__}: {error})") from None
        if version != 2 or not set(actions.values()) <= {*ACTIONS, SKIP}:
            raise Damaged("this plan has a form that cicd/steps/plan.py does not know")
        self.state = (data.get("lineage", ""), data.get("serial", 0))
        self.actions = {key: action for key, action in actions.items() if action != SKIP}

    @property
    def unchanged(self) -> int:
        """How many resources stay as they are."""
        return len(self.entries) - len(self.actions)

    def count(self, action: str) -> int:
        """How many resources it creates, updates, recreates or deletes."""
        return list(self.actions.values()).count(action)

    def loses(self, key: str) -> bool:
        """Whether it deletes or recreates a resource that holds data and is still there."""
        kind, _, name = key.partition(".")
        return (
            self.actions[key] in DESTRUCTIVE
            and kind in DATA
            and "." not in name  # permissions of a resource hold no data
            and not self.entries[key].get("gone")
        )

    @property
    def losses(self) -> list[str]:
        """What it deletes or recreates although it holds data, such as `delete schemas.x`."""
        return [f"{action} {key}" for key, action in self.actions.items() if self.loses(key)]

    def fields(self, key: str) -> list[Field]:
        """The fields of a resource that change."""
        entry = self.entries[key]
        # Without a remote state the client did not ask the workspace, and the old value must do.
        now = "remote" if entry.get("remote_state") else "old"
        changed = changes(entry).items()
        return [Field(path, change.get(now), change.get("new")) for path, change in changed]

    def check_secrets(self) -> None:
        """Raises Damaged if it would overwrite a secret with the word that hides it here."""
        for key in self.actions:
            if REDACTED in json.dumps(self.entries[key].get("new_state")):
                raise Damaged(
                    f"{key} has a secret, and a plan carries none: it would become {REDACTED}."
                    " Keep secrets out of the bundle"
                )

    def same_as(self, other: "Plan") -> bool:
        """Whether both change the same fields of the same resources to the same values."""
        return self.actions == other.actions and all(
            self.fields(key) == other.fields(key) for key in self.actions
        )


def read(name: str) -> Plan:
    """Returns the plan in a file. Raises Damaged."""
    try:
        return Plan(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged(f"cannot be read: {error}") from None


# ---- Values, without secrets ---------------------------------------------------------------------


def masked(key: str, value: Any) -> Any:
    """Returns a value without what looks secret, by its key or by its form."""
    # The name of an item of a list (`tasks[task_key='refresh_token']`) hides nothing below it.
    if SECRET_KEY.search(re.sub(r"\[\w+='[^']*'\]", "", key)):
        return HIDDEN
    if isinstance(value, dict):
        return {name: masked(name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [masked("", item) for item in value]
    return HIDDEN if SECRET_VALUE.search(str(value)) else value


def shown(path: str, value: Any) -> str:
    """Returns a field's value as one short line."""
    if value is None:
        return "(none)"
    if "${" in str(value):
        return "(known when it is deployed)"
    visible = masked(path, value)
    if visible == HIDDEN:
        return HIDDEN
    text = OWN_FOLDER.sub(".../", json.dumps(visible, ensure_ascii=False))
    if len(text) <= LONGEST_VALUE:
        return text
    return f"{text[:LONGEST_VALUE]}... ({len(text)} characters)"


# ---- Texts ---------------------------------------------------------------------------------------


def cut(lines: list[str], most: int, noun: str = "") -> list[str]:
    """Returns the lines, or the first of them and how many more there are."""
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"- ... and {len(lines) - most} more {noun}".rstrip()]


def summary(plan: Plan) -> str:
    """Returns how many resources change, as one line."""
    return ", ".join(f"{plan.count(action)} to {action}" for action in ACTIONS)


def listed(title: str, fields: list[str]) -> str:
    """Returns a resource's line with the lines of its fields below it."""
    below = cut([f"- {field}" for field in fields], MOST_FIELDS, "fields")
    return "\n".join([f"- {title}", *(f"  {line}" for line in below)])


def with_values(plan: Plan) -> list[str]:
    """Returns the resources that change, each with the old and new values of its fields."""
    parts = [
        listed(
            f"{action} {key}",
            [f"{f.path}: {shown(f.path, f.before)} -> {shown(f.path, f.after)}" for f in fields],
        )
        for key, action in plan.actions.items()
        for fields in [plan.fields(key)]
    ]
    return cut(parts, MOST_RESOURCES, "resources")


def without_values(plan: Plan, words: Mapping[str, str]) -> list[str]:
    """Returns the resources that change, each with the names of its fields."""
    parts = [
        listed(f"{words[action]} {key}", [field.path for field in plan.fields(key)])
        for key, action in plan.actions.items()
    ]
    return cut(parts, MOST_RESOURCES, "resources")


def show(plan: Plan) -> str:
    """Returns the plan for its reviewer, deletions first. Raises Damaged if it holds a secret."""
    plan.check_secrets()
    losses = plan.losses
    warnings = [
        f"> **WARNING: {loss}: data or permanent addresses would be lost.**" for loss in losses
    ]
    for key, action in plan.actions.items():
        if action in DESTRUCTIVE and f"{action} {key}" not in losses:
            warnings.append(f"> WARNING: {action} {key}")
    resources = with_values(plan) or ["The resources stay as they are."]
    parts = [["# What would change in prod"], [f"**{summary(plan)}**, {plan.unchanged} unchanged"]]
    parts += [part for part in (warnings, resources) if part]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def data_loss(plan: Plan) -> str:
    """Returns the sentence of the approval about data that would be lost."""
    losses = plan.losses
    if losses:
        rest = f" and {len(losses) - MOST_LOSSES} more" if len(losses) > MOST_LOSSES else ""
        return f"DATA WOULD BE LOST: {', '.join(losses[:MOST_LOSSES])}{rest}."
    if plan.actions:
        return "It deletes no data."
    return "It changes no resource: files and wheel only."


def variables(plan: Plan) -> str:
    """Returns what the build exports for the approval, as commands for a shell."""
    values = {f"{action.upper()}S": str(plan.count(action)) for action in ACTIONS}
    values[names.LOSES_DATA] = str(bool(plan.losses)).lower()
    values[names.DATA_LOSS] = data_loss(plan)
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def drift(plan: Plan) -> str:
    """Returns how prod differs from what was deployed: `none`, or a list without values."""
    if not plan.actions:
        return "none"
    return "\n".join(
        [
            f"{len(plan.actions)} of {len(plan.entries)} resources in prod are not as deployed",
            "",
            *without_values(plan, DIFFERENCES),
            "",
            "Deploying again undoes this. Copy what should stay into the repository and push;",
            "otherwise: make start. To look again: make drift.",
        ]
    )


def main() -> None:
    """Prints a plan in one of three ways."""
    texts = {"show": show, "variables": variables, "drift": drift}
    parser = argparse.ArgumentParser(description="Says what a plan of the Databricks CLI would do.")
    parser.add_argument("text", choices=texts)
    parser.add_argument("plan", metavar="PLAN.JSON")
    options = parser.parse_args()
    try:
        plan = read(options.plan)
        if options.text == "drift":
            accepted.leave_out(plan)
        print(texts[options.text](plan))
    except (Damaged, accepted.Unreadable) as damaged:
        sys.exit(f"plan.py: {options.plan}: {damaged}")


if __name__ == "__main__":
    main()
