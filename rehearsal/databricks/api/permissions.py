"""The API's rights on jobs, pipelines and others. docs.databricks.com/api/workspace/permissions"""

import re

from rehearsal.databricks.api.protocol import Reply, Request, Routes
from rehearsal.databricks.workspace import Json, Workspace

WHO = ("user_name", "group_name", "service_principal_name")
APPLICATION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OWNED = ("jobs", "pipelines")  # whoever creates one owns it


def key(request: Request) -> tuple[str, str]:
    """The kind of the rights of an object, and their id: the path of the object."""
    object_type = request.fields["type"]
    return f"{object_type.replace('/', '_')}.permissions", f"/{object_type}/{request.fields['id']}"


def get(workspace: Workspace, request: Request) -> Reply:
    """Answers who may do what with an object."""
    kind, id_ = key(request)
    rights = workspace.resources.get(kind, id_)
    entries = rights["__embed__"] if rights else owner(workspace, request)
    return {
        "object_id": id_,
        "object_type": request.fields["type"].rstrip("s"),
        "access_control_list": [shown(entry) for entry in entries],
    }


def owner(workspace: Workspace, request: Request) -> list[Json]:
    """The rights of a new object; none if nobody made it."""
    object_type = request.fields["type"]
    creator = workspace.resources.creator(object_type, request.fields["id"])
    if object_type not in OWNED or not creator:
        return []
    kind = "service_principal_name" if APPLICATION_ID.fullmatch(creator) else "user_name"
    return [{kind: creator, "level": "IS_OWNER"}]


def who(entry: Json) -> Json:
    """Whose rights an entry is about."""
    return {name: entry[name] for name in WHO if entry.get(name)}


def shown(entry: Json) -> Json:
    """An entry as the API shows it."""
    level = {"permission_level": entry["level"], "inherited": False}
    return who(entry) | {"all_permissions": [level]}


def put(workspace: Workspace, request: Request) -> Reply:
    """Replaces the rights on an object."""
    kind, id_ = key(request)
    entries = [
        who(entry) | {"level": entry["permission_level"]}
        for entry in request.json.get("access_control_list", [])
    ]
    workspace.keep("update", kind, id_, {"object_id": id_, "__embed__": entries})
    return get(workspace, request)


ROUTES: Routes = {
    f"{method} /api/2.0/permissions/{{type*}}/{{id}}": operation
    for method, operation in (("GET", get), ("PUT", put))
}
