"""The commands that change a workspace by a bundle: deploy and destroy."""

import hashlib
import json
import shutil
import uuid
from graphlib import TopologicalSorter
from pathlib import Path

from rehearsal.databricks import rules
from rehearsal.databricks.bundle import VERSION
from rehearsal.databricks.calls import DEPLOY, DESTROY, RESOURCE
from rehearsal.databricks.commands import make_plan, state_of
from rehearsal.databricks.errors import ClientError, Invalid, Killed
from rehearsal.databricks.plan import NAMED_IDS, State, count, kind_of, replace_references
from rehearsal.databricks.session import Session, say
from rehearsal.databricks.workspace import Json, Workspace, new_job_id, read_json, write_json

# What is lost with a resource that is deleted or recreated.
DATA_LOSS = {
    "schemas": "UC schemas. Any underlying data may be lost:",
    "pipelines": "Lakeflow Spark Declarative Pipelines along with the\nStreaming Tables (STs) and"
    " Materialized Views (MVs) managed by them. Recreating the pipelines will\nrestore the defined"
    " STs and MVs through full refresh. Note that recreation is necessary when pipeline\nproperties"
    " such as the 'catalog' or 'storage' are changed:",
    "volumes": "volumes. The files in managed volumes are lost:",
}
DESTROYED_PIPELINES = (
    "Lakeflow Spark Declarative Pipelines along with the\nStreaming Tables (STs) and Materialized"
    " Views (MVs) managed by them. Set 'cascade_on_destroy: false' on a pipeline to retain datasets"
    " on pipeline deletion"
)
NEEDS_APPROVAL = (
    "\nDeleting data assets such as schemas, pipelines, or volumes may cause permanent data loss"
    " and should be carefully reviewed.\nTo proceed, use --auto-approve"
)


def deploy(session: Session) -> None:
    """databricks bundle deploy [--plan FILE] [--auto-approve]"""
    bundle = session.load_bundle()
    wheels = bundle.place_libraries()
    bundle.check_branch()
    state = state_of(session)
    file = session.options.plan
    plan, made_of = _read_plan(file) if file else (make_plan(session, state), "without a plan")
    state.check(plan)
    lock = _lock(session)
    files = _upload(session, wheels)  # as in the real client, also if the deployment is refused
    session.workspace.record(DEPLOY, f"{bundle.target} {made_of}")
    errors = _refusal(plan, session.options.auto_approve)
    if not errors:
        errors = Deployer(state, session.workspace).apply(plan)
    lock.unlink()
    for error in errors:
        say(f"Error: {error}\n")
    if errors:
        say(f"Files: {files}")
        raise ClientError
    for key, entry in plan["plan"].items():
        if entry["action"] != "skip":
            verb = entry["action"].removesuffix("_id").capitalize()
            say(f"{verb}d {key.removeprefix('resources.')}")
    say(f"Files: {files}")
    say("Resources: {} created, {} changed, {} deleted, {} unchanged".format(*count(plan)))


def _lock(session: Session) -> Path:
    """Locks the target against other deployments; returns the lock. Raises ClientError."""
    state_path = session.bundle.config["workspace"]["state_path"]
    lock = session.workspace.files.locate(f"{state_path}/deploy.lock")
    if lock.exists():
        held = f"deploy lock acquired by {lock.read_text(encoding='utf-8')}"
        raise ClientError(f"Failed to acquire deployment lock: {held}")
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(session.workspace.user, encoding="utf-8")
    return lock


def _read_plan(name: str) -> tuple[Json, str]:
    """The plan in a file, and the file's SHA-256. Raises Invalid if it is not a plan."""
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise Invalid(f"reading plan file: open {name}: {reason}") from None
    text = content.decode()
    try:
        plan = json.loads(text)
    except json.JSONDecodeError as error:
        raise Invalid(f"parsing plan JSON: {_parse_error(text, error)}") from None
    if not isinstance(plan, dict):
        raise Invalid("parsing plan JSON: this is no plan")
    plan_version, version = plan.get("plan_version", 0), plan.get("cli_version", "")
    if plan_version != 2:
        other = f'plan has version {plan_version} (generated with CLI "{version}")'
        raise Invalid(f"plan version mismatch: {other}, but current version is 2")
    if version != VERSION:
        versions = f"CLI version {version} but current version is {VERSION}"
        say(f"Warn: Plan was created with {versions}")
    return {"plan": {}} | plan, hashlib.sha256(content).hexdigest()


def _parse_error(text: str, error: json.JSONDecodeError) -> str:
    is_cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
    return "unexpected EOF" if is_cut else str(error)


def _upload(session: Session, wheels: list[Path]) -> str:
    """Copies wheels and files into the workspace; returns how many files changed."""
    bundle, files = session.bundle, session.workspace.files
    section = bundle.config["workspace"]
    internal = files.locate(f"{section['artifact_path']}/.internal")
    if not bundle.config.section("experimental").get("skip_artifact_cleanup"):
        shutil.rmtree(internal, ignore_errors=True)
    for wheel in wheels:  # beside those of earlier deployments, if they are kept
        say(f"Uploading {wheel.relative_to(bundle.root)}...")
        internal.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(wheel, internal / wheel.name)
    say(f"Uploading bundle files to {section['file_path']}...")
    folder = files.locate(section["file_path"])
    listing = files.locate(f"{section['state_path']}/deployment.json")
    names = set(bundle.files())
    uploaded = [name for name in names if _copy(bundle.root / name, folder / name)]
    earlier = read_json(listing, [])
    deleted = [name for name in earlier if name not in names and (folder / name).exists()]
    for name in deleted:
        (folder / name).unlink()
    write_json(listing, sorted(names))
    return f"{len(uploaded)} uploaded, {len(deleted)} deleted"


def _copy(file: Path, copy: Path) -> bool:
    """Copies a file; returns whether the copy has changed."""
    content = file.read_bytes()
    if copy.is_file() and copy.read_bytes() == content:
        return False
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(content)
    return True


def _refusal(plan: Json, approved: bool) -> list[str]:
    """Prints what would lose data; returns why it is not done, unless it is approved."""
    loses_data = False
    for kind, loss in DATA_LOSS.items():
        resources = [
            f"  {entry['action']} {key}"
            for key, entry in plan["plan"].items()
            if _is_resource(key, kind) and entry["action"] in ("delete", "recreate")
        ]
        if resources:
            loses_data = True
            action = f"the deletion or recreation of the following {loss}"
            say("\n".join([f"\nThis action will result in {action}", *resources]))
    if approved or not loses_data:
        return []
    reason = f"but the current console does not support prompting.{NEEDS_APPROVAL}"
    return [
        f"the deployment requires destructive actions, {reason} after reviewing the plan above."
    ]


def _is_resource(key: str, kind: str = "") -> bool:
    """Whether a key is a resource's own, of a kind: not that of its permissions."""
    return key.count(".") == 2 and kind in ("", key.split(".")[1])


def destroy(session: Session) -> None:
    """databricks bundle destroy [--auto-approve]"""
    root = session.load_bundle().config["workspace"]["root_path"]
    state, folder = state_of(session), session.workspace.files.locate(root)
    if not folder.exists():
        say("No active deployment found to destroy!")
        return
    if not session.options.auto_approve:
        raise ClientError(
            "this command will destroy all resources deployed by this bundle, including workspace"
            f" files in the deployment directory.{NEEDS_APPROVAL}."
        )
    # Permissions go with their resource: the client does not list them.
    resources = sorted(key for key in state.resources if _is_resource(key))
    pipelines = [key for key in resources if _is_resource(key, "pipelines")]
    if resources:
        _print_deletions("The following resources will be deleted:", resources)
    if pipelines:
        loss = f"the deletion of the following {DESTROYED_PIPELINES}"
        _print_deletions(f"This action will result in {loss}:", pipelines)
    say(f"All files and directories at the following location will be deleted: {root}\n")
    deployer = Deployer(state, session.workspace)
    for key in list(state.resources):
        deployer.delete(key)
    shutil.rmtree(folder)
    session.workspace.record(DESTROY, session.bundle.target)
    say(f"Destroy: {len(resources)} deleted")


def _print_deletions(title: str, keys: list[str]) -> None:
    say("\n".join([title, *(f"  delete {key}" for key in keys), ""]))


class Deployer:
    """Changes the resources of a workspace, and a deployment's state with them."""

    def __init__(self, state: State, workspace: Workspace) -> None:
        self.state, self.workspace = state, workspace

    def apply(self, plan: Json) -> list[str]:
        """Does what a plan says, as far as possible, and saves the state; returns the errors."""
        entries = {key: e for key, e in plan["plan"].items() if e["action"] != "skip"}
        needs = {
            key: {dependency["node"] for dependency in entry.get("depends_on", [])} & entries.keys()
            for key, entry in sorted(entries.items())
        }
        order = list(TopologicalSorter(needs).static_order())
        order.sort(key=lambda key: entries[key]["action"] == "delete")  # deletions come last
        fault = self.workspace.storage.fault("deploy")
        errors: dict[str, str] = {}
        for number, key in enumerate(order):
            if fault.get("killed") and number >= fault.get("after", 0):
                break
            if failed := needs[key] & errors.keys():
                errors[key] = f"dependency failed: {min(failed)}"
            elif fault and number >= fault.get("after", 0):
                errors[key] = fault["message"]
            else:
                errors |= self._try(key, entries[key])
        if fault.get("killed"):
            raise Killed  # before the state is saved; the lock stays
        if len(errors) < len(order):  # a deployment without a change leaves the serial
            self.state.save()
        return [f"cannot {entries[key]['action']} {key}: {why}" for key, why in errors.items()]

    def _try(self, key: str, entry: Json) -> dict[str, str]:
        """Does what a plan says of one resource; returns why not, by its key, if it is refused."""
        try:
            self._apply(key, entry)
        except ClientError as refused:
            return {key: str(refused)}
        return {}

    def _apply(self, key: str, entry: Json) -> None:
        if entry["action"] in ("delete", "recreate"):
            self.delete(key)
        if entry["action"] != "delete":
            self._put(key, entry)
        self.workspace.record(RESOURCE, f"{entry['action']} {key.removeprefix('resources.')}")

    def _put(self, key: str, entry: Json) -> None:
        """Creates or updates one resource."""
        dependencies = entry.get("depends_on", [])
        ids = {item["label"]: self.state.id(item["node"]) for item in dependencies}
        settings = replace_references(entry["new_state"]["value"], ids)
        kind, before = kind_of(key), self.state.id(key)
        if problem := rules.problem(kind, settings):
            raise ClientError(problem)
        # The state may hold an id for a "create" too: of a resource that somebody has deleted.
        id_ = before if entry["action"] == "update" else _new_id(key, settings)
        if kind in NAMED_IDS and id_ != before and self.workspace.resources.get(kind, id_):
            raise ClientError(f"{kind} '{id_}' already exists")
        if entry["action"] == "update_id":
            self.workspace.resources.delete(kind, before)
        self.state.resources[key] = {"__id__": id_, "state": settings}
        if dependencies:
            self.state.resources[key]["depends_on"] = dependencies
        self.workspace.resources.put(kind, id_, settings)

    def delete(self, key: str) -> None:
        """Deletes one resource from the workspace and from the state in memory."""
        deployed = self.state.resources.pop(key)
        self.workspace.resources.delete(kind_of(key), deployed["__id__"])


def _new_id(key: str, settings: Json) -> str:
    """The id of a new resource; permissions have the path of their object."""
    if "object_id" in settings:
        return str(settings["object_id"])
    kind = kind_of(key)
    if kind in NAMED_IDS:
        return ".".join(str(settings[name]) for name in NAMED_IDS[kind]).lower()
    if kind == "jobs":
        return new_job_id()
    return str(uuid.uuid4())
