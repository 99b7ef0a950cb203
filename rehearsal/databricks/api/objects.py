"""The API's objects that are created, shown, changed and deleted at one path each.

docs.databricks.com/api/workspace: schemas, volumes, registeredmodels, ...
"""

import json
import uuid
from dataclasses import dataclass, field, replace

from rehearsal.databricks.api import protocol
from rehearsal.databricks.api.protocol import ApiError, Reply, Request, Routes
from rehearsal.databricks.workspace import Json, Workspace

UNITY = "/api/2.1/unity-catalog"
ACTIVE: Json = {"compute_status": {"state": "ACTIVE"}, "app_status": {"state": "RUNNING"}}
READY: Json = {"state": {"ready": "READY", "config_update": "NOT_UPDATING"}}


@dataclass(frozen=True)
class Collection:
    """Objects of one kind, as a bundle calls it, and how the API has them.

    Their id is made of the fields `named`, or made up if there are none; it stands in `id_field`.
    `shown` is what the service adds, `changed_by` the method of a change, and `changes` the field
    that it is about. With `numbered` an object has an ID beside its name.
    """

    kind: str
    path: str
    named: tuple[str, ...] = ()
    id_field: str = "id"
    shown: Json = field(default_factory=dict)
    changed_by: str = "PATCH"
    changed_at: str = ""  # below the object's own path
    changes: str = ""
    numbered: bool = False

    def routes(self) -> Routes:
        """The operations on them."""
        one = f"{self.path}/{{id}}"
        return {
            f"POST {self.path}": self.create,
            f"GET {one}": self.get,
            f"{self.changed_by} {one}{self.changed_at}": self.update,
            f"DELETE {one}": self.delete,
        }

    def create(self, workspace: Workspace, request: Request) -> Reply:
        """Creates an object; refuses a second one of the same name."""
        settings = request.json
        id_ = self.id(settings)
        if self.numbered:
            settings["id"] = uuid.uuid4().hex
        if workspace.resources.get(self.kind, id_) is not None:
            raise ApiError(409, "RESOURCE_ALREADY_EXISTS", f"{self.kind} '{id_}' already exists")
        self.keep(workspace, "create", id_, settings)
        return self.describe(workspace, id_)

    def id(self, settings: Json) -> str:
        """The id of an object with these settings."""
        return ".".join(str(settings[name]) for name in self.named) or uuid.uuid4().hex

    def keep(self, workspace: Workspace, action: str, id_: str, settings: Json) -> None:
        """Keeps an object, and notes that."""
        workspace.keep(action, self.kind, id_, settings)

    def describe(self, workspace: Workspace, id_: str) -> Json:
        """An object as the API shows it. Raises ApiError."""
        message = f"{self.kind} '{id_}' does not exist."
        settings = protocol.found(workspace, self.kind, id_, message)
        return (
            {"owner": workspace.resources.creator(self.kind, id_)}
            | settings
            | self.shown
            | {self.id_field: id_}
        )

    def get(self, workspace: Workspace, request: Request) -> Reply:
        """Answers with an object."""
        return self.describe(workspace, request.fields["id"])

    def update(self, workspace: Workspace, request: Request) -> Reply:
        """Changes what a request names, also the object's own name."""
        id_, changes = request.fields["id"], request.json
        self.describe(workspace, id_)
        changes = {self.changes: changes} if self.changes else changes
        settings = (workspace.resources.get(self.kind, id_) or {}) | changes
        if new_name := settings.pop("new_name", ""):
            settings["name"] = new_name
            workspace.resources.delete(self.kind, id_)
            id_ = self.id(settings)
        self.keep(workspace, "update", id_, settings)
        return self.describe(workspace, id_)

    def delete(self, workspace: Workspace, request: Request) -> Reply:
        """Deletes an object."""
        id_ = request.fields["id"]
        self.describe(workspace, id_)
        workspace.delete(self.kind, id_)
        return {}


@dataclass(frozen=True)
class Unity(Collection):
    """Objects of Unity Catalog: their names are in lower case."""

    id_field: str = "full_name"

    def id(self, settings: Json) -> str:
        """The full name."""
        return super().id(settings).lower()

    def keep(self, workspace: Workspace, action: str, id_: str, settings: Json) -> None:
        """Keeps an object under its name in lower case."""
        super().keep(workspace, action, id_, settings | {"name": settings["name"].lower()})


APPS = Collection("apps", "/api/2.0/apps", ("name",), "name", ACTIVE)
COLLECTIONS = (
    Unity("catalogs", f"{UNITY}/catalogs", ("name",)),
    Unity("schemas", f"{UNITY}/schemas", ("catalog_name", "name")),
    Unity("volumes", f"{UNITY}/volumes", ("catalog_name", "schema_name", "name")),
    Unity("registered_models", f"{UNITY}/models", ("catalog_name", "schema_name", "name")),
    Unity("external_locations", f"{UNITY}/external-locations", ("name",), "name"),
    Collection("alerts", "/api/2.0/alerts"),
    Collection("genie_spaces", "/api/2.0/genie/spaces", (), "space_id"),
    Collection(
        "database_instances",
        "/api/2.0/database/instances",
        ("name",),
        "name",
        {"state": "AVAILABLE"},
    ),
    Collection("vector_search_indexes", "/api/2.0/vector-search/indexes", ("name",), "name"),
    Collection("database_catalogs", "/api/2.0/database/catalogs", ("name",), "name"),
    Collection("synced_database_tables", "/api/2.0/database/synced_tables", ("name",), "name"),
    Collection(
        "sql_warehouses", "/api/2.0/sql/warehouses", (), "id", {"state": "RUNNING"}, "POST", "/edit"
    ),
    Collection(
        "model_serving_endpoints",
        "/api/2.0/serving-endpoints",
        ("name",),
        "name",
        READY,
        "PUT",
        "/config",
        "config",
        numbered=True,
    ),
    Collection(
        "vector_search_endpoints",
        "/api/2.0/vector-search/endpoints",
        ("name",),
        "name",
        {"endpoint_status": {"state": "ONLINE"}},
        numbered=True,
    ),
    APPS,
)


def update_app(workspace: Workspace, request: Request) -> Reply:
    """Changes what a request names of an app."""
    body = json.dumps(request.json["app"]).encode()
    APPS.update(workspace, replace(request, body=body))
    return updated_app(workspace, request)


def updated_app(workspace: Workspace, request: Request) -> Reply:
    """Says how the last update of an app went."""
    APPS.get(workspace, request)
    return {"status": {"state": "SUCCEEDED"}}


def warehouses(workspace: Workspace, request: Request) -> Reply:
    """Lists the SQL warehouses, for variables that look one up by its name."""
    kept = workspace.resources.list("sql_warehouses")
    return {"warehouses": [settings | {"id": id_} for id_, settings, _ in kept]}


def grants(workspace: Workspace, request: Request) -> Reply:
    """Answers who has which privileges on an object of Unity Catalog."""
    kept = workspace.resources.get(*grants_key(request)) or {"__embed__": []}
    return {"privilege_assignments": kept["__embed__"]}


def grants_key(request: Request) -> tuple[str, str]:
    """The kind of the privileges on an object, and their id."""
    return f"{request.fields['type']}s.grants".replace(
        "functions", "registered_models"
    ), request.fields["id"]


def change_grants(workspace: Workspace, request: Request) -> Reply:
    """Adds and removes privileges."""
    kind, id_ = grants_key(request)
    kept = workspace.resources.get(kind, id_) or {"__embed__": []}
    privileges = {entry["principal"]: set(entry["privileges"]) for entry in kept["__embed__"]}
    for change in request.json.get("changes", []):
        before = privileges.get(change["principal"], set())
        gone = set(change.get("remove", []))
        left = set() if "ALL_PRIVILEGES" in gone else before - gone
        privileges[change["principal"]] = left | set(change.get("add", []))
    entries = [
        {"principal": who, "privileges": sorted(what)} for who, what in privileges.items() if what
    ]
    workspace.keep("update", kind, id_, {"full_name": id_, "__embed__": entries})
    return grants(workspace, request)


ROUTES: Routes = {
    f"POST {APPS.path}/{{id}}/update": update_app,
    f"GET {APPS.path}/{{id}}/update": updated_app,
    "GET /api/2.0/sql/warehouses": warehouses,
    f"GET {UNITY}/permissions/{{type}}/{{id}}": grants,
    f"PATCH {UNITY}/permissions/{{type}}/{{id}}": change_grants,
}
for collection in COLLECTIONS:
    ROUTES |= collection.routes()
