"""Reads a plan of the Databricks CLI and says what it would do.

Usage: python cicd/steps/plan.py show|variables|drift PLAN.JSON

show: for a person, as Markdown; variables: for the approval, as shell; drift: for a mail. No field
that looks secret is shown, nor what only the workspace adds to a resource by itself.
"""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

ACTIONS = ("create", "update", "recreate", "delete")
DRIFTED = {"create": "missing", "update": "changed", "recreate": "changed", "delete": "stays"}
SYNONYMS = {"update_id": "update", "resize": "update"}
# What loses data, or what others rely on, when it is deleted.
DATA = {
    *("catalogs", "dashboards", "database_catalogs", "database_instances", "experiments"),
    *("genie_spaces", "pipelines", "postgres_branches", "postgres_databases", "postgres_projects"),
    *("models", "registered_models", "schemas", "secret_scopes", "secrets"),
    *("synced_database_tables", "vector_search_indexes", "volumes"),
}
SECRET = re.compile(r"(?i)secret|token|passw|credential|private|api_?key|access_?key")
LOOKS_SECRET = re.compile(
    r"\b(dapi|dose|dkea|AKIA|ghp_|eyJ)[\w-]{8,}|-{5}BEGIN|://[^/\s:]+:[^/@\s]+@"
)
HIDDEN = "(hidden)"
OWN_FOLDER = re.compile(r"/Workspace/Users/[^/\"]+/\.bundle/[^/\"]+/[^/\"]+/")
# What the client writes into a plan in a secret's place, and would deploy from it.
REDACTED = "[redacted]"
RIGHTS = (".permissions", ".grants")  # on a resource; in a plan they are resources of their own
FIELDS, RESOURCES = 20, 100  # shown of one resource, of one plan


def acting(entry: dict) -> dict[str, dict]:
    """The changes of an entry that do something, by field."""
    changes = entry.get("changes") or {}
    return {path: one for path, one in changes.items() if one.get("action") != "skip"}


def settled(key: str, entry: dict) -> bool:
    """Whether these permissions are right already, and the client only does not see it.

    After an object was recreated or renamed it goes on reading the old one's (databricks/cli#5587).
    """
    changes = acting(entry)
    return (
        key.endswith(RIGHTS)
        and entry["action"] == "update"
        and bool({"object_id", "full_name"} & changes.keys())
        and all(change.get("old") == change.get("new") for change in changes.values())
    )


class Damaged(Exception):
    """Why a file is no plan."""


class Plan:
    """A plan of `databricks bundle plan -o json`. Raises Damaged.

    `actions`: by resource (`jobs.x`), without what stays as it is.
    """

    def __init__(self, text: str) -> None:
        try:
            data = json.loads(text)
            entries = {key.removeprefix("resources."): e for key, e in data["plan"].items()}
            found = {
                key: "skip" if settled(key, e) else SYNONYMS.get(e["action"], e["action"])
                for key, e in entries.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"this is no plan ({type(error).__name__}: {error})") from None
        if data.get("plan_version") != 2 or not set(found.values()) <= {*ACTIONS, "skip"}:
            raise Damaged("this plan has a form that cicd/steps/plan.py does not know")
        self.state = (data.get("lineage", ""), data.get("serial", 0))
        self.entries = entries
        self.actions = {key: action for key, action in found.items() if action != "skip"}
        self.unchanged = len(found) - len(self.actions)

    def count(self, action: str) -> int:
        """How many resources it creates, updates, recreates or deletes."""
        return list(self.actions.values()).count(action)

    @property
    def losses(self) -> list[str]:
        """What it deletes or recreates although it bears data; not what is gone already."""
        return [
            f"{action} {key}"
            for key, action in self.actions.items()
            if action in ("delete", "recreate")
            and key.split(".")[0] in DATA
            and key.count(".") == 1
            and not self.entries[key].get("gone")
        ]

    def changes(self, key: str) -> list[tuple[str, Any, Any]]:
        """The fields of a resource that change: path, value now, value then."""
        entry = self.entries[key]
        now = "remote" if entry.get("remote_state") else "old"
        return [(path, one.get(now), one.get("new")) for path, one in acting(entry).items()]

    def check_secrets(self) -> None:
        """Raises Damaged where it would overwrite a secret with what stands in its place here."""
        for key in self.actions:
            if REDACTED in json.dumps(self.entries[key].get("new_state")):
                raise Damaged(
                    f"{key} has a secret, and a plan carries none: it would become {REDACTED}."
                    " Keep secrets out of the bundle"
                )

    def same_as(self, other: "Plan") -> bool:
        """Whether both change the same fields of the same resources to the same values."""
        return self.actions == other.actions and all(
            self.changes(key) == other.changes(key) for key in self.actions
        )


def masked(key: str, value: Any) -> Any:
    """A value without what looks secret, by its key or by its form."""
    if SECRET.search(re.sub(r"\[\w+='[^']*'\]", "", key)):  # not by which item of a list it is
        return HIDDEN
    if isinstance(value, dict):
        return {name: masked(name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [masked("", item) for item in value]
    return HIDDEN if LOOKS_SECRET.search(str(value)) else value


def shown(path: str, value: Any) -> str:
    """A field's value in one short line."""
    if value is None:
        return "(none)"
    if "${" in str(value):
        return "(known when it is deployed)"
    value = masked(path, value)
    text = value if value == HIDDEN else json.dumps(value, ensure_ascii=False)
    text = OWN_FOLDER.sub(".../", text)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


def cut(lines: list[str], most: int, what: str = "") -> list[str]:
    """The lines, or the first of them and how many more there are."""
    more = len(lines) - most
    return [*lines[:most], f"- ... and {more} more {what}".rstrip()] if more > 0 else lines


def summary(plan: Plan) -> str:
    """How many resources change, in one line."""
    return ", ".join(f"{plan.count(action)} to {action}" for action in ACTIONS)


def resources(plan: Plan, values: bool = True, words: dict[str, str] | None = None) -> list[str]:
    """A line for each resource that changes, with its fields below it."""
    parts: list[str] = []
    for key, action in plan.actions.items():
        fields = []
        for path, now, then in plan.changes(key):
            told = f": {shown(path, now)} -> {shown(path, then)}" if values else ""
            fields.append(f"- {path}{told}")
        below = [f"  {line}" for line in cut(fields, FIELDS, "fields")]
        parts.append("\n".join([f"- {(words or {}).get(action, action)} {key}", *below]))
    return cut(parts, RESOURCES, "resources")


def show(plan: Plan) -> str:
    """The plan for its reviewer, what deletes first. Raises Damaged for one of no use."""
    plan.check_secrets()
    lines = [f"**{summary(plan)}**, {plan.unchanged} unchanged", ""]
    for one in plan.losses:
        lines.append(f"> **WARNING: {one}: data or permanent addresses would be lost.**")
    for key, action in plan.actions.items():
        if action in ("delete", "recreate") and f"{action} {key}" not in plan.losses:
            lines.append(f"> WARNING: {action} {key}")
    lines += ["", *(resources(plan) or ["The resources stay as they are."])]
    return "# What would change in prod\n\n" + re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def variables(plan: Plan) -> str:
    """What the approval says, as commands for a shell."""
    told = {f"{action.upper()}S": str(plan.count(action)) for action in ACTIONS}
    lost = plan.losses
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    told["DATA_LOSS"] = (
        f"DATA WOULD BE LOST: {', '.join(lost[:3])}{more}."
        if lost
        else "It deletes no data."
        if plan.actions
        else "It changes no resource: files and wheel only."
    )
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in told.items())


def drift(plan: Plan) -> str:
    """Which resources and fields of prod differ from what was deployed: `none`, or a list."""
    if not plan.actions:
        return "none"
    return "\n".join(
        [
            f"{len(plan.actions)} of {len(plan.entries)} resources in prod are not as deployed",
            "",
            *resources(plan, values=False, words=DRIFTED),
            "",
            "Deploying again undoes this. Copy what should stay into the repository, push; else:",
            "make start. To look again: make drift.",
        ]
    )


def read(name: str) -> Plan:
    """The plan in a file. Raises Damaged."""
    try:
        return Plan(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged(f"cannot be read: {error}") from None


if __name__ == "__main__":
    how = {"show": show, "variables": variables, "drift": drift}
    if len(sys.argv) != 3 or sys.argv[1] not in how:
        sys.exit(__doc__)
    try:
        print(how[sys.argv[1]](read(sys.argv[2])))
    except Damaged as damaged:
        sys.exit(f"plan.py: {sys.argv[2]}: {damaged}")
