"""The commands that read a bundle: validate, summary and plan."""

from rehearsal.databricks.bundle import Bundle
from rehearsal.databricks.client.session import Session, show
from rehearsal.databricks.deployment.plan import Planner, count
from rehearsal.databricks.deployment.state import State
from rehearsal.databricks.errors import ClientError, Invalid
from rehearsal.databricks.workspace.storage import Json


def state_of(session: Session) -> State:
    """The state of the target's deployment."""
    path = f"{session.bundle.config['workspace']['state_path']}/resources.json"
    return State(session.workspace.files.locate(path))


def make_plan(session: Session, state: State) -> Json:
    """The plan for the bundle as it is now."""
    resources = session.bundle.config.section("resources")
    return Planner(resources, state, session.workspace).plan()


def validate(session: Session) -> None:
    """databricks bundle validate [--strict]"""
    error = None
    try:
        session.load_bundle()
    except Invalid as invalid:
        error = invalid
    findings = _findings(error, len(session.bundle.warnings))
    if session.json:
        _print_configuration(session.bundle)
    else:
        _print_header(session.bundle)
        print(f"\nFound {findings}" if findings else "\nValidation OK!")
    if error:
        raise error
    if findings and session.options.strict:
        verb = "was" if len(session.bundle.warnings) == 1 else "were"
        rule = "Warnings are not allowed in strict mode"
        raise ClientError(f"{findings} {verb} found. {rule}")


def _findings(error: Invalid | None, warnings: int) -> str:
    """`1 error and 2 warnings`, or "" if there are none."""
    counts = ["1 error"] if error else []
    if warnings:
        counts.append("1 warning" if warnings == 1 else f"{warnings} warnings")
    return " and ".join(counts)


def _print_header(bundle: Bundle) -> None:
    """Prints name, target and workspace of the bundle, as far as it was read."""
    workspace = bundle.config.get("workspace") or {}
    if bundle.name:
        print(f"Name: {bundle.name}")
    if not bundle.target:
        return
    print(f"Target: {bundle.target}\nWorkspace:")
    paths = {"Host": workspace.get("host"), "User": bundle.user, "Path": workspace.get("root_path")}
    for label, value in paths.items():
        if value:
            print(f"  {label}: {value}")


def _print_configuration(bundle: Bundle) -> None:
    """Prints the resolved bundle as JSON."""
    show({key: value for key, value in sorted(bundle.config.items()) if value})


def summary(session: Session) -> None:
    """databricks bundle summary"""
    bundle = session.load_bundle()
    state, resources = state_of(session), bundle.config.section("resources")
    for kind, named in resources.items():
        for key, resource in named.items():
            if id_ := state.id(f"resources.{kind}.{key}"):
                resource |= {"id": id_, "url": f"{session.host}/{kind}/{id_}"}
    if session.json:
        _print_configuration(bundle)
        return
    _print_header(bundle)
    print("Resources:")
    for kind, named in sorted(resources.items()):
        print(f"  {kind.replace('_', ' ').title()}:")
        for key, resource in sorted(named.items()):
            print(f"    {key}:\n      Name: {resource.get('name', key)}")
            print(f"      URL:  {resource.get('url', '(not deployed)')}")


def plan(session: Session) -> None:
    """databricks bundle plan"""
    session.load_bundle().place_libraries()
    planned = make_plan(session, state_of(session))
    if session.json:
        show(planned)
        return
    actions = {key: entry["action"] for key, entry in planned["plan"].items()}
    changes = [
        f"{action} {key.removeprefix('resources.')}"
        for key, action in actions.items()
        if action != "skip"
    ]
    if changes:
        print(*changes, "", sep="\n")
    print("Plan: {} to add, {} to change, {} to delete, {} unchanged".format(*count(planned)))
