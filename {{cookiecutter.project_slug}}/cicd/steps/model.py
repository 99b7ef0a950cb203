"""A plan of the Databricks CLI: what it does to each resource, and to which of its fields."""

import json
from pathlib import Path
from typing import Any

from fields import MISSING, Field, differences, find, with_references
from texts import key_text

ACTIONS = ("create", "update", "recreate", "delete")
SKIP = "skip"
SYNONYMS = {"update_id": "update", "resize": "update"}
DESTRUCTIVE = ("delete", "recreate")
# Kinds of resource that hold data, or an address that others rely on: deleting one loses it.
DATA = {
    *("catalogs", "dashboards", "database_catalogs", "database_instances", "experiments"),
    *("genie_spaces", "pipelines", "postgres_branches", "postgres_databases", "postgres_projects"),
    *("models", "registered_models", "schemas", "secret_scopes", "secrets"),
    *("synced_database_tables", "vector_search_indexes", "volumes"),
}
# What the client writes into a plan in place of a secret, and would deploy from it.
REDACTED = "[redacted]"
RIGHTS = (".permissions", ".grants")  # of a resource; in a plan they are resources of their own

METADATA = "state/metadata.json"  # in the deployment's own folder; jobs and pipelines name it

# A resource in a plan: {"action": "update", "changes": {path: change}, "remote_state": {...}, ...}.
# A change: {"action": "update", "old": value, "new": value, "remote": value}.
Entry = dict[str, Any]


class Damaged(Exception):
    """Why a file cannot be used as a plan."""


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
    entries: every resource, by a key such as `jobs.x`, which is safe to print.
    actions: what happens to each resource that changes, by the same key.
    """

    def __init__(self, text: str) -> None:
        try:
            data = json.loads(text)
            self.entries: dict[str, Entry] = {
                key_text(key.removeprefix("resources.")): entry
                for key, entry in data["plan"].items()
            }
            actions = {key: effective_action(key, entry) for key, entry in self.entries.items()}
            version = data.get("plan_version")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"this is no plan ({type(error).__name__}: {error})") from None
        if version != 2 or not set(actions.values()) <= {*ACTIONS, SKIP}:
            raise Damaged("this plan has a form that cicd/steps/model.py does not know")
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
        return (
            self.actions[key] in DESTRUCTIVE
            and key.partition(".")[0] in DATA
            and not key.endswith(RIGHTS)  # they hold no data
            and not self.entries[key].get("gone")
        )

    @property
    def losses(self) -> list[str]:
        """What it deletes or recreates although it holds data, such as `delete schemas.x`."""
        return [f"{action} {key}" for key, action in self.actions.items() if self.loses(key)]

    def settings(self, key: str) -> Any:
        """All of a resource as it will be, with Pending for what is known when it is deployed."""
        state = self.entries[key].get("new_state") or {}
        return with_references(state.get("value"), state.get("vars") or {})

    def fields(self, key: str) -> list[Field]:
        """The fields of a resource that change; all of them if it is created."""
        entry, settings = self.entries[key], self.settings(key)
        if self.actions.get(key) == "create":
            return list(differences(Field("", None, settings)))
        # Without a remote state the client did not ask the workspace, and the old value must do.
        now = "remote" if entry.get("remote_state") else "old"
        references = (entry.get("new_state") or {}).get("vars")
        fields = []
        for path, change in changes(entry).items():
            # Of a reference, `new` may have nothing.
            after = find(settings, path) if references else MISSING
            after = change.get("new") if after is MISSING else after
            fields.append(Field(path, change.get(now), after))
        return fields

    @property
    def folder(self) -> str:
        """The folder of this deployment in the workspace, as the client writes it; or ""."""
        for entry in self.entries.values():
            for state in ((entry.get("new_state") or {}).get("value"), entry.get("remote_state")):
                path = find(state, "deployment.metadata_file_path")
                if isinstance(path, str) and path.endswith(METADATA):
                    return path.removesuffix(METADATA)
        return ""

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
