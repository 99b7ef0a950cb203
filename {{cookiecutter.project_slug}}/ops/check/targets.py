"""That the targets of the pipeline are kept apart, and production is deployed as production."""

import itertools
import re

from ops.check.bundle import Bundle
from ops.check.reading import Findings, Map, check, maps, merge
from ops.check.stack import Stack

PROD = "prod"
OWN_FOLDER = "${workspace.current_user.userName}", "${bundle.target}"


def of_pipeline(bundle: Bundle, stack: Stack) -> dict[str, Map]:
    """The targets that builds work on, with their settings."""
    built = {target for build in stack.builds for target in build.targets}
    return {name: bundle.targets[name] for name in bundle.targets if name in built}


@check
def builds_deploy_in_production_mode(bundle: Bundle, stack: Stack) -> Findings:
    """The targets of builds are in production mode, and what only developers may do is theirs."""
    for name, target in of_pipeline(bundle, stack).items():
        place = bundle.all.mapping("targets").at[name]
        if target.get("mode") != "production":
            at = target.at.get("mode", place)
            yield at, f"{name}: mode is {target.text('mode') or 'not set'}; set mode: production"
        if target.get("default"):
            yield target.at["default"], f"{name} is the default target; leave that to development"
        if "artifacts" in target:
            message = "builds artifacts of its own, but it is to take the wheel of the pipeline"
            yield target.at["artifacts"], f"{name} {message}; remove it"
    prod = bundle.targets.get(PROD, Map())
    if PROD in of_pipeline(bundle, stack) and not prod.mapping("git").text("branch"):
        place = bundle.all.mapping("targets").at[PROD]
        yield prod.at.get("git", place), f"{PROD} names no git branch; add git: branch:"


@check
def targets_have_their_own_folder(bundle: Bundle, stack: Stack) -> Findings:
    """What a build deploys lies below its own deployer's folder, in a folder of the target."""
    for name, target in of_pipeline(bundle, stack).items():
        workspace = merge(bundle.all.mapping("workspace"), target.mapping("workspace"))
        path = workspace.text("root_path")
        if not all(part in path for part in OWN_FOLDER) or not path.startswith("/Workspace/Users/"):
            place = workspace.at.get("root_path", bundle.all.mapping("targets").at[name])
            expected = f"/Workspace/Users/{OWN_FOLDER[0]}/.../{OWN_FOLDER[1]}"
            yield place, f"{name}: root_path is {path or 'not set'}; set {expected}"


def variable(bundle: Bundle, target: str, name: str) -> str:
    """The value of a variable in a target."""
    own = bundle.targets[target].mapping("variables")
    default = bundle.all.mapping("variables").get(name)
    value = own.get(name, default.get("default") if isinstance(default, Map) else default)
    return str(value.get("default", "") if isinstance(value, Map) else value)


@check
def targets_have_their_own_tables(bundle: Bundle, stack: Stack) -> Findings:
    """No two targets write to the same catalog and schema."""
    tables = {
        name: (variable(bundle, name, "catalog"), variable(bundle, name, "schema"))
        for name in bundle.targets
        if "catalog" in bundle.all.mapping("variables")
    }
    for first, second in itertools.combinations(tables, 2):
        if tables[first] == tables[second] and "None" not in tables[first]:
            at = bundle.targets[second].mapping("variables").at
            place = at.get("catalog", bundle.all.mapping("targets").at[second])
            catalog, schema = tables[first]
            message = f"{first} and {second} both write to catalog {catalog}, schema {schema}"
            yield place, f"{message}; give each its own"


@check
def schedules_of_tests_are_paused(bundle: Bundle, stack: Stack) -> Findings:
    """Before production, no schedule starts a job by itself."""
    for name, target in of_pipeline(bundle, stack).items():
        if name != PROD and target.mapping("presets").text("trigger_pause_status") != "PAUSED":
            place = target.at.get("presets", bundle.all.mapping("targets").at[name])
            yield (
                place,
                f"{name}: trigger_pause_status is not PAUSED, so its schedules run; pause them",
            )


RUNS_CODE = {"python", "scripts", "pydabs"}


@check
def deployments_run_no_code(bundle: Bundle) -> Findings:
    """The client runs no code of the commit while it plans, and keeps its lock."""
    for part in maps(bundle.all):
        for key in RUNS_CODE & part.keys():
            if part in (bundle.all, bundle.all.get("experimental")):
                yield part.at[key], f"{key} runs code with the build's credential; remove it"
        lock = part.get("lock")
        if isinstance(lock, Map) and (lock.get("enabled") is False or lock.get("force")):
            yield part.at["lock"], "without its lock, two deployments mix; remove lock"
    if "artifacts" in bundle.all:
        message = "artifacts of every target, so production builds its own; move it to development"
        yield bundle.all.at["artifacts"], message


@check
def not_everybody_manages(bundle: Bundle) -> Findings:
    """No job, pipeline or the like can be changed by every user."""
    seen = set()
    for part in maps(bundle.all):
        group = part.text("group_name") if isinstance(part.get("group_name"), str) else ""
        level = str(part.get("level", ""))
        if group in ("users", "account users") and re.search("MANAGE|EDIT|OWNER|WRITE", level):
            if part.at["level"] not in seen:
                yield part.at["level"], f"every user gets {level}; name a group of the team"
            seen.add(part.at["level"])
