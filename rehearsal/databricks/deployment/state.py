"""What a target has deployed, as resources.json in its state_path says."""

import uuid
from pathlib import Path

from rehearsal.databricks.bundle import VERSION
from rehearsal.databricks.errors import Invalid
from rehearsal.databricks.workspace.storage import Json, read_json, write_json


def kind_of(key: str) -> str:
    """`jobs` of `resources.jobs.x`; `jobs.permissions` of `resources.jobs.x.permissions`."""
    parts = key.split(".")
    return ".".join([parts[1], *parts[3:]])


class State:
    """The state of a deployment. Its resources have keys like `resources.jobs.x`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.data: Json = read_json(file, {})
        self.resources: dict[str, Json] = self.data.get("state", {})

    @property
    def version(self) -> Json:
        """Lineage and serial, which tell one state from another; none before the first one."""
        return {name: self.data[name] for name in ("lineage", "serial") if name in self.data}

    def id(self, key: str) -> str:
        """The id of a deployed resource, else ""."""
        return str(self.resources.get(key, {}).get("__id__", ""))

    def check(self, plan: Json) -> None:
        """Raises Invalid for a plan that was made for another state; a first plan has none."""
        lineage, serial = plan.get("lineage", ""), plan.get("serial", 0)
        if not lineage:
            return
        actual = self.data.get("lineage", "")
        if lineage != actual:
            raise Invalid(
                f'plan lineage "{lineage}" does not match state lineage "{actual}";'
                " the state may have been modified by another process"
            )
        if serial != self.data["serial"]:
            raise Invalid(
                f"plan serial {serial} does not match state serial {self.data['serial']}; the state"
                " has been modified since the plan was created. Please run 'bundle plan' again"
            )

    def save(self) -> None:
        """Writes the state with the next serial."""
        version: Json = {"lineage": str(uuid.uuid4()), "serial": 0} | self.version
        self.data = {
            "state_version": 2,
            "cli_version": VERSION,
            "lineage": version["lineage"],
            "serial": version["serial"] + 1,
            "state": self.resources,
        }
        write_json(self.file, self.data)
