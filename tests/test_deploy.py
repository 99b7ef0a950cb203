"""cicd/steps/deploy.py: what it finds before it deploys, and what it proves afterwards.

The client here is a program that hands out plans in order, and notes what it was called with.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from steps import STEPS, load
from test_build_steps import program

DATABRICKS = """#!/bin/sh
echo "$@" >>calls
case "$1 $2" in
  "bundle plan") number=$(cat number); echo $((number + 1)) >number; cat "plan-$number" ;;
  "bundle deploy") [ ! -e no-deploy ] ;;
  "bundle summary") echo '{"workspace": {"state_path": "/state"}}' ;;
  "workspace get-status")
    case "$3" in */deploy.lock) [ -e lock ] ;; *) [ ! -e no-status ] ;; esac ;;
  "current-user me") echo '{"userName": "deployer"}' ;;
  "jobs list") cat jobs ;;
  "pipelines list-pipelines") cat pipelines ;;
  *) exit 99 ;;
esac
"""
AWS = """#!/bin/sh
echo "$@" >aws
[ -n "$TYPE" ] && echo '"'"$TYPE"'"'
"""
CREATE = {"action": "create", "new_state": {"value": {"name": "daily"}}}
SKIP = {"action": "skip", "remote_state": {"job_id": 7}}
Entry = dict[str, Any]


def update(**changes: tuple[object, object]) -> Entry:
    """An entry that changes these fields of a job from one value to another."""
    fields = {
        field: {"action": "update", "old": before, "new": after, "remote": before}
        for field, (before, after) in changes.items()
    }
    return {"action": "update", "remote_state": {"job_id": 7}, "changes": fields}


def text(serial: int = 1, /, **entries: Entry) -> str:
    """A plan as the client prints it; `jobs__x` is the job x."""
    resources = {f"resources.{key.replace('__', '.')}": item for key, item in entries.items()}
    plan = {"plan_version": 2, "lineage": "a", "serial": serial, "plan": resources}
    return json.dumps(plan)


def make_wheel(file: Path, *names: str) -> Path:
    """A wheel with these files."""
    file.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return file


class Build:
    """A production build's directory, with a client and a release."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.programs = program(root, "databricks", DATABRICKS)
        program(root, "aws", AWS)
        wheel = make_wheel(root / "dist/a-1-py3-none-any.whl", "a/__init__.py")
        self.wheel_sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (root / "number").write_text("0")
        (root / "calls").touch()
        self.workspace("jobs")
        self.workspace("pipelines")

    def workspace(self, kind: str, *items: Entry) -> None:
        """What the workspace lists of a kind."""
        (self.root / kind).write_text(json.dumps(items))

    def accept(self, text: str) -> None:
        """Writes the list of accepted differences."""
        (self.root / "accepted_differences.yml").write_text(text)

    def deploy(
        self, approved: str, *plans: str, kind: str = "STANDARD", replaced: str = ""
    ) -> tuple[int, str]:
        """Deploys; the client's own plans come in this order. Returns exit code and log."""
        (self.root / "plan.json").write_text(replaced or approved)
        for number, plan in enumerate(plans):
            (self.root / f"plan-{number}").write_text(plan)
        result = subprocess.run(
            [sys.executable, "-B", STEPS / "deploy.py", "plan.json"],
            cwd=self.root,
            env={
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "CODEBUILD_INITIATOR": "codepipeline/p",
                "TYPE": kind,
                "PLAN_SHA256": hashlib.sha256(approved.encode()).hexdigest(),
                "WHEEL_SHA256": self.wheel_sha256,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return result.returncode, result.stdout

    @property
    def calls(self) -> list[str]:
        """What the client was called with."""
        return (self.root / "calls").read_text().splitlines()

    @property
    def deployments(self) -> list[str]:
        """The client's calls that deployed."""
        return [call for call in self.calls if call.startswith("bundle deploy")]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A production build's directory."""
    return Build(tmp_path)


DONE = text(2, jobs__x=SKIP)
NEW = text(jobs__x=CREATE)


# ---- What is said, and what the client is called with --------------------------------------------

WHEEL = "/Workspace/x/a-1.whl"
LIBRARIES = [{"whl": WHEEL}, {"whl": "dist/b.whl"}, {"jar": "/x.jar"}]
WITH_WHEELS = {"action": "skip", "remote_state": {"tasks": [{"libraries": LIBRARIES}]}}
PIPELINE = {"action": "delete", "remote_state": {"name": "etl"}}
RIGHTS = {"action": "create", "new_state": {"value": {"permissions": [{"level": "CAN_VIEW"}]}}}
ETL = text(pipelines__x=CREATE, **{"pipelines__x.permissions": RIGHTS})
MANY = {"jobs__x": CREATE, "jobs__y": update(a=(1, 2)), "jobs__z": {"action": "recreate"}}

PLAN = "bundle plan -t prod -o json"
LOOK = ["bundle summary -t prod -o json", "workspace get-status /state/deploy.lock"]
LOOK_FOR_NAMES = [*LOOK, "current-user me -o json", "jobs list --name daily -o json"]
LOOK_FOR_PIPELINE = [
    *LOOK,
    "current-user me -o json",
    "pipelines list-pipelines --filter name LIKE 'daily' -o json",
]
DEPLOY = "bundle deploy -t prod --plan"
ANEW = "Nothing is changed. A new plan, to be approved: make start"


def counts(*numbers: int) -> str:
    """How many resources a plan creates, updates, recreates and deletes, in words."""
    verbs = ("create", "update", "recreate", "delete")
    return ", ".join(f"{number} to {verb}" for number, verb in zip(numbers, verbs, strict=True))


def page(numbers: tuple[int, int, int, int], *lines: str, warnings: tuple[str, ...] = ()) -> str:
    """A plan as its reader sees it."""
    parts = [f"**{counts(*numbers)}**, 0 unchanged", "\n".join(lines)]
    if warnings:
        parts.insert(0, "\n".join(f"> {line}" for line in warnings))
    return "\n\n".join(["# What would change in prod", *parts]) + "\n\n"


def proved(*numbers: int) -> str:
    """The last line of a deployment that succeeded."""
    return f"Production has what the plan says: {counts(*numbers)}.\n"


NEW_PAGE = page((1, 0, 0, 0), "- create jobs.x", '  - name: "daily"')
UPDATE_PAGE = page((0, 1, 0, 0), "- update jobs.x", "  - a: 1 -> 2")
LOSS = "data or permanent addresses would be lost.**"


class Story(NamedTuple):
    """A deployment: what was approved, the client's plans in order, the log, the client's calls."""

    approved: str
    plans: list[str]
    log: str
    calls: list[str]
    kind: str = "STANDARD"
    fault: str = ""  # what the client cannot do


STORIES = {
    "a new job": Story(
        NEW,
        [NEW, DONE],
        NEW_PAGE + proved(1, 0, 0, 0),
        [PLAN, *LOOK_FOR_NAMES, f"{DEPLOY} plan.json", PLAN],
    ),
    "an approved loss": Story(
        text(pipelines__x=PIPELINE),
        [text(pipelines__x=PIPELINE), text(2)],
        page(
            (0, 0, 0, 1),
            "- delete pipelines.x",
            warnings=(f"**WARNING: delete pipelines.x: {LOSS}",),
        )
        + proved(0, 0, 0, 1),
        [PLAN, *LOOK, f"{DEPLOY} plan.json --auto-approve", PLAN],
    ),
    "a rollback": Story(
        NEW,
        [text(jobs__x=update(a=(1, 2))), DONE],
        f"A rollback. What it changes, planned just now:\n\n{UPDATE_PAGE}" + proved(0, 1, 0, 0),
        [PLAN, *LOOK, f"{DEPLOY} now.json", PLAN],
        kind="ROLLBACK",
    ),
    "a rollback that loses data": Story(
        NEW,
        [text(pipelines__x=PIPELINE, schemas__y={"action": "recreate"})],
        "A rollback. What it changes, planned just now:\n\n"
        + page(
            (0, 0, 1, 1),
            "- delete pipelines.x",
            "- recreate schemas.y",
            warnings=(
                f"**WARNING: delete pipelines.x: {LOSS}",
                f"**WARNING: recreate schemas.y: {LOSS}",
            ),
        )
        + "deploy.py: prod: this rollback would lose data, and nobody has approved that: delete"
        " pipelines.x, recreate schemas.y. Nothing is changed. Revert the commit and push it: that"
        " plan can be approved\n",
        [PLAN],
        kind="ROLLBACK",
    ),
    "a stale plan": Story(
        text(3),
        [text(5)],
        "deploy.py: prod: the plan is stale: since it was made another deployment changed prod (its"
        " state was 3, it is 5 now). Another execution of this pipeline, a first try of this one,"
        " or somebody with this deployer's credential; make releases lists the pipeline's."
        f" {ANEW}\n",
        [PLAN],
    ),
    "a change by hand": Story(
        NEW,
        [text(jobs__x=update(a=(1, 2)))],
        f"{UPDATE_PAGE}deploy.py: prod: prod was changed by hand since the plan was made: above is"
        f" what the release would do now, which nobody has approved. {ANEW}\n",
        [PLAN],
    ),
    "the rest of a plan": Story(
        text(jobs__x=update(a=(1, 2), b=(1, 2))),
        [text(jobs__x=update(b=(1, 2))), DONE],
        "An earlier deployment of this release was cut off: prod has a part of the approved plan"
        f" already. This deployment does the rest: {counts(0, 1, 0, 0)}.\n"
        + page((0, 1, 0, 0), "- update jobs.x", "  - a: 1 -> 2", "  - b: 1 -> 2")
        + proved(0, 1, 0, 0),
        [PLAN, *LOOK, f"{DEPLOY} plan.json", PLAN],
    ),
    "a deployment that fails": Story(
        text(**MANY),
        [text(**MANY), text(jobs__x=SKIP, jobs__y=update(a=(1, 2)), jobs__z=CREATE)],
        page(
            (1, 1, 1, 0),
            "- recreate jobs.z",
            "- update jobs.y",
            "  - a: 1 -> 2",
            "- create jobs.x",
            '  - name: "daily"',
            warnings=("WARNING: recreate jobs.z",),
        )
        + "done: create jobs.x\nnot done: update jobs.y\nhalf done (create): recreate jobs.z\n"
        f"deploy.py: prod: databricks {DEPLOY} plan.json failed with exit code 1; the lines above"
        " say what was applied; files may already be new. Fix the cause and push, or: make"
        " rollback\n",
        [PLAN, *LOOK_FOR_NAMES, f"{DEPLOY} plan.json", PLAN],
        fault="deploy",
    ),
    "a deployment that fails, and then the plan": Story(
        NEW,
        [NEW, "[]"],
        f"{NEW_PAGE}deploy.py: prod: databricks {DEPLOY} plan.json failed with exit code 1; what"
        " was applied is not known, because this is no plan (TypeError: list indices must be"
        " integers or slices, not str)\n",
        [PLAN, *LOOK_FOR_NAMES, f"{DEPLOY} plan.json", PLAN],
        fault="deploy",
    ),
    "permissions of a new object": Story(
        ETL,
        [ETL, text(2, **{"pipelines__x.permissions": RIGHTS}), text(3)],
        page(
            (2, 0, 0, 0),
            "- create pipelines.x",
            '  - name: "daily"',
            "- create pipelines.x.permissions",
            '  - permissions[0].level: "CAN_VIEW"',
        )
        + "Deploying again, for the permissions of new objects: pipelines.x.permissions\n"
        + proved(2, 0, 0, 0),
        [
            *(PLAN, *LOOK_FOR_PIPELINE, f"{DEPLOY} plan.json", PLAN),
            *(f"{DEPLOY} left.json", PLAN),
        ],
    ),
    "a difference that is left": Story(
        NEW,
        [NEW, text(2, jobs__x=CREATE)],
        f"{NEW_PAGE}{NEW_PAGE}deploy.py: prod: after the deployment prod still differs from the"
        " release, as above. What is left is in the next plan: make start\n",
        [PLAN, *LOOK_FOR_NAMES, f"{DEPLOY} plan.json", PLAN],
    ),
    "permissions that nobody planned": Story(
        NEW,
        [NEW, text(2, **{"jobs__x.permissions": RIGHTS})],
        NEW_PAGE
        + page(
            (1, 0, 0, 0),
            "- create jobs.x.permissions",
            '  - permissions[0].level: "CAN_VIEW"',
            warnings=("Rights change: create jobs.x.permissions",),
        )
        + "deploy.py: prod: after the deployment prod still differs from the"
        " release, as above. What is left is in the next plan: make start\n",
        [PLAN, *LOOK_FOR_NAMES, f"{DEPLOY} plan.json", PLAN],
    ),
    "a wheel": Story(
        NEW,
        [NEW, text(2, jobs__x=WITH_WHEELS)],
        f"{NEW_PAGE}In the workspace: {WHEEL}\n" + proved(1, 0, 0, 0),
        [
            *(PLAN, *LOOK_FOR_NAMES, f"{DEPLOY} plan.json", PLAN),
            f"workspace get-status {WHEEL}",
        ],
    ),
    "a wheel that is missing": Story(
        NEW,
        [NEW, text(2, jobs__x=WITH_WHEELS)],
        f"{NEW_PAGE}deploy.py: prod: prod is deployed, but {WHEEL} is missing and its job will"
        " fail. Deploy again: make start; or go back: make rollback\n",
        [
            *(PLAN, *LOOK_FOR_NAMES, f"{DEPLOY} plan.json", PLAN),
            f"workspace get-status {WHEEL}",
        ],
        fault="status",
    ),
    "fields that are not kept": Story(
        NEW,
        [NEW, text(2, jobs__x=update(a=(None, 3), db_password=("u", "v")))],
        f"{NEW_PAGE}WARNING: the workspace does not keep jobs.x as deployed: a: (none), and not 3;"
        " db_password: (hidden), and not (hidden) (what is hidden changes). The search for drift"
        " will report it. If it may stay so, list it in accepted_differences.yml\n"
        + proved(1, 0, 0, 0),
        [PLAN, *LOOK_FOR_NAMES, f"{DEPLOY} plan.json", PLAN],
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_the_log_and_the_clients_calls(build: Build, name: str) -> None:
    story = STORIES[name]
    (build.root / f"no-{story.fault}").touch()
    _, log = build.deploy(story.approved, *story.plans, kind=story.kind)
    assert log == story.log
    assert build.calls == story.calls


def test_the_pipeline_says_whether_this_is_a_rollback(build: Build) -> None:
    build.deploy(NEW, NEW, DONE)
    query = "stageStates[?stageName=='Production'].latestExecution.type | [0]"
    call = f"codepipeline get-pipeline-state --name p --query {query} --output json\n"
    assert (build.root / "aws").read_text() == call
    code, log = build.deploy(NEW, NEW, NEW, NEW, kind="")  # AWS refuses
    assert (code, log) == (1, "deploy.py: aws codepipeline get-pipeline-state: \n")


@pytest.mark.parametrize("plan", ["{", text(2)])
def test_a_plan_that_is_not_the_approved_one_is_not_deployed(build: Build, plan: str) -> None:
    actual, approved = (hashlib.sha256(text.encode()).hexdigest() for text in (plan, NEW))
    code, log = build.deploy(NEW, NEW, replaced=plan)
    said = f"its SHA-256 is {actual}, not {approved}. {ANEW}\n"
    assert log == f"deploy.py: prod: plan.json is not the file that was approved: {said}"
    assert (code, build.deployments) == (1, [])


def test_an_approved_plan_that_is_damaged_is_not_deployed(build: Build) -> None:
    code, log = build.deploy("[]", NEW)
    assert log.startswith("deploy.py: prod: plan.json: this is no plan (TypeError")
    assert log.endswith(f". {ANEW}\n")
    assert (code, build.deployments) == (1, [])


def test_a_wheel_that_is_not_the_approved_one_is_not_deployed(build: Build) -> None:
    make_wheel(build.root / "dist/a-1-py3-none-any.whl", "evil.py")
    code, log = build.deploy(NEW, NEW, DONE)
    assert log.startswith("deploy.py: prod: a-1-py3-none-any.whl is not the file that was approved")
    assert (code, build.calls) == (1, [])


# ---- What a deployment that was cut off has left -------------------------------------------------


def job(name: str, creator: str, id_: int) -> Entry:
    """A job as the workspace lists it."""
    return {"job_id": id_, "creator_user_name": creator, "settings": {"name": name}}


def named(name: str) -> Entry:
    """An entry that creates a resource of this name."""
    return {"action": "create", "new_state": {"value": {"name": name}}}


def of_bundle(entry: Entry, file: str) -> Entry:
    """A job that belongs to the deployment of some bundle."""
    deployment = {"deployment": {"kind": "BUNDLE", "metadata_file_path": file}}
    return entry | {"settings": entry["settings"] | deployment}


def pipeline(name: str, creator: str, id_: str) -> Entry:
    """A pipeline as the workspace lists it."""
    return {"pipeline_id": id_, "creator_user_name": creator, "name": name}


@pytest.mark.parametrize("kind", ["STANDARD", "ROLLBACK"])
def test_a_job_that_no_state_knows_is_not_created_again(build: Build, kind: str) -> None:
    build.workspace("jobs", job("daily", "deployer", 42))
    code, log = build.deploy(NEW, NEW, DONE, kind=kind)
    assert (code, build.deployments) == (1, [])
    last = log.splitlines()[-1]
    assert last.startswith("deploy.py: prod: an earlier deployment was cut off")
    assert "jobs.x would be created, but this deployer has one of that name already" in last
    assert "its ID is 42. Delete it (databricks jobs delete 42), or adopt it" in last
    assert last.endswith("Nothing is changed; afterwards: Retry stage")


def test_a_pipeline_that_no_state_knows_is_not_created_again(build: Build) -> None:
    name = r"it's 100\%"
    entry = named(name)
    build.workspace("pipelines", pipeline(name, "deployer", "4-2"))
    code, log = build.deploy(text(pipelines__x=entry), text(pipelines__x=entry))
    assert (code, build.deployments) == (1, [])
    assert "its ID is 4-2. Delete it (databricks pipelines delete 4-2)" in log
    calls = (build.root / "calls").read_text()
    assert "pipelines list-pipelines --filter name LIKE 'it_s 100_%' -o json" in calls


@pytest.mark.parametrize(("count", "lists"), [(20, 20), (21, 1)])
def test_many_new_jobs_are_looked_for_in_one_list(build: Build, count: int, lists: int) -> None:
    build.workspace("jobs", job("job 19", "deployer", 42), job("job 99", "deployer", 43))
    plan = text(**{f"jobs__x{n}": named(f"job {n}") for n in range(count)})
    code, log = build.deploy(plan, plan)
    assert (code, sum(call.startswith("jobs list") for call in build.calls)) == (1, lists)
    assert log.count("would be created, but") == log.count("jobs.x19 would be created") == 1
    assert "its ID is 42" in log


@pytest.mark.parametrize(
    "other",
    [
        job("daily", "somebody else", 42),
        job("Daily", "deployer", 42),
        job("daily", "deployer", 7),  # known to the state, under another key
    ],
)
def test_what_is_no_leftover_stops_nothing(build: Build, other: Entry) -> None:
    build.workspace("jobs", other)
    plan = text(jobs__x=CREATE, jobs__y=SKIP)
    code, log = build.deploy(plan, plan, DONE)
    assert code == 0, log


@pytest.mark.parametrize(
    ("owner", "deployed"),
    [("/us/state/metadata.json", []), ("/them/state/metadata.json", ["deployed"])],
    ids=["ours", "of another bundle"],
)
def test_a_job_of_another_bundle_is_not_to_be_deleted(build: Build, owner, deployed) -> None:
    build.workspace("jobs", of_bundle(job("daily", "deployer", 77), owner))
    value = {"name": "daily", "deployment": {"metadata_file_path": "/us/state/metadata.json"}}
    plan = text(jobs__x=CREATE | {"new_state": {"value": value}})
    _, log = build.deploy(plan, plan, DONE)
    assert ("Delete it (databricks jobs delete 77)" in log) is (not deployed)
    assert bool(build.deployments) is bool(deployed)


def test_what_is_not_looked_for_is_said(build: Build) -> None:
    entries = {"clusters__c": CREATE, "jobs__x": {**CREATE}, "jobs__x.permissions": CREATE}
    plan = text(**entries)
    code, log = build.deploy(plan, plan, DONE)
    assert code == 0, log
    assert "Whether the workspace has one already is not looked up: clusters.c\n" in log


def test_a_lock_is_named_with_the_command_that_removes_it(build: Build) -> None:
    (build.root / "lock").touch()
    code, log = build.deploy(DONE, DONE)
    assert (code, build.deployments) == (1, [])
    assert "if no build is running: databricks workspace delete /state/deploy.lock." in log


def test_the_rest_of_an_approved_plan_is_deployed(build: Build) -> None:
    approved = text(jobs__x=update(a=(1, 2), b=(1, 2)), jobs__y=update(c=(1, 2)))
    rest = text(jobs__x=update(b=(1, 2)), jobs__y=SKIP)
    code, log = build.deploy(approved, rest, DONE)
    assert (code, len(build.deployments)) == (0, 1), log
    assert "An earlier deployment of this release was cut off" in log
    assert "by hand" not in log


@pytest.mark.parametrize(
    "now",
    [
        text(jobs__x=update(a=(9, 2))),  # another value before
        text(jobs__x=update(a=(1, 3))),  # another value after
        text(jobs__x=update(a=(1, 2), b=(1, 2))),  # one more field
        text(jobs__x=update(a=(1, 2)), jobs__y=update(a=(1, 2))),  # one more resource
        text(jobs__x={**update(a=(1, 2)), "action": "recreate"}),
        text(jobs__x=CREATE),  # deleted by hand
    ],
)
def test_more_than_was_approved_is_not_deployed(build: Build, now: str) -> None:
    code, log = build.deploy(text(jobs__x=update(a=(1, 2))), now)
    assert (code, build.deployments) == (1, [])
    assert "prod was changed by hand since the plan was made" in log


# ---- What a workspace does not keep --------------------------------------------------------------

LASTING = text(2, jobs__x=update(a=(None, 3)))
ENTRY = "- {resource: jobs.x, field: a, reason: not returned}\n"


@pytest.mark.parametrize(
    "plan", [NEW, text(jobs__x=update(a=(None, 3))), text(jobs__x={"action": "recreate"})]
)
def test_a_field_that_the_workspace_does_not_keep_is_a_warning(build: Build, plan: str) -> None:
    code, log = build.deploy(plan, plan, LASTING)
    assert code == 0, log
    assert "\nWARNING: the workspace does not keep jobs.x as deployed: a: (none), and not 3." in log


@pytest.mark.parametrize(
    "left",
    [
        text(2, jobs__x=update(a=(4, 3))),  # another value than before the deployment
        text(2, jobs__x=update(b=(None, 3))),  # another field
        text(2, jobs__x=update(a=(None, 3)), jobs__y=update(a=(None, 3))),  # another resource
        text(2, jobs__x={**update(a=(None, 3)), "action": "recreate"}),
        text(2, jobs__x=CREATE),
        text(2, jobs__x={"action": "delete", "remote_state": {}}),
    ],
)
def test_any_other_difference_after_the_deployment_stops(build: Build, left: str) -> None:
    plan = text(jobs__x=update(a=(None, 3)))
    code, log = build.deploy(plan, plan, left)
    assert code == 1
    assert "after the deployment prod still differs from the release" in log


def test_an_accepted_difference_is_silent(build: Build) -> None:
    build.accept(ENTRY)
    plan = text(jobs__x=update(a=(None, 3)))
    code, log = build.deploy(plan, plan, LASTING)
    assert code == 0, log
    assert "WARNING" not in log and "accepted_differences.yml" not in log


@pytest.mark.parametrize("unused", ["jobs.x", "jobs.y"])
def test_an_entry_that_matches_nothing_is_said(build: Build, unused: str) -> None:
    build.accept(f"- {{resource: {unused}, field: b, reason: gone}}\n{ENTRY}")
    code, log = build.deploy(NEW, NEW, LASTING)
    assert code == 0, log
    assert f"accepted_differences.yml: {unused} does not differ in b; remove the entry\n" in log
    assert "WARNING" not in log


def test_what_the_client_itself_skips_does_not_keep_a_resource_different(build: Build) -> None:
    build.accept(ENTRY)
    left = json.loads(LASTING)
    changes = left["plan"]["resources.jobs.x"]["changes"]
    changes["b"] = {"action": "skip", "old": 1, "new": 2, "remote": 1}
    code, log = build.deploy(NEW, NEW, json.dumps(left))
    assert code == 0, log
    assert "WARNING" not in log


@pytest.mark.parametrize("action", ["recreate", "create", "delete"])
def test_only_an_update_is_accepted(build: Build, action: str) -> None:
    build.accept(ENTRY)
    left = text(2, jobs__x={**update(a=(None, 3)), **CREATE, "action": action})
    code, log = build.deploy(NEW, NEW, left)
    assert code == 1
    assert "after the deployment prod still differs from the release" in log


BAD_LISTS = {
    "jobs.x: a\n": " must be a list; remove the file if nothing is accepted\n",
    "": "must be a list",
    "- jobs.x\n": (
        ": entry 1 must have resource, field, reason, each with a text, and nothing else\n"
    ),
    "- {resource: jobs.x, field: a}\n": "entry 1 must have",
    "- {resource: jobs.x, field: a, reason: ''}\n": "entry 1 must have",
    "- {resource: jobs.x, field: a, reason: 1}\n": "entry 1 must have",
    f"{ENTRY}- {{resource: jobs.x, feild: a, reason: b}}\n": "entry 2 must have",
    "- {resource: jobs.x, field: a, reason: b, until: 2027}\n": "entry 1 must have",
    "- [\n": " cannot be read: while parsing a flow node expected the node content",
    "- !!python/name:os.system\n": "cannot be read: ",
}


@pytest.mark.parametrize("listed", BAD_LISTS)
def test_a_list_that_cannot_be_read_stops_before_the_deployment(build: Build, listed: str) -> None:
    build.accept(listed)
    code, log = build.deploy(NEW, NEW, DONE)
    assert (code, build.deployments) == (1, [])
    assert log.startswith("deploy.py: prod: accepted_differences.yml")
    assert BAD_LISTS[listed] in log and len(log.splitlines()) == 1


def drift(build: Build, plan: str) -> tuple[int, str, str]:
    """What the search for drift says of a plan."""
    (build.root / "plan.json").write_text(plan)
    result = subprocess.run(
        [sys.executable, "-B", STEPS / "plan.py", "drift", "plan.json"],
        cwd=build.root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.returncode, result.stdout, result.stderr


def test_what_is_accepted_is_no_drift(build: Build) -> None:
    assert drift(build, LASTING)[1].startswith("1 of 1 resources in prod are not as deployed")
    build.accept(ENTRY)
    assert drift(build, LASTING) == (0, "none\n", "")
    code, listed, _ = drift(build, text(2, jobs__x=update(a=(None, 3), b=(1, 2))))
    assert (code, listed.splitlines()[2:4]) == (0, ["- changed jobs.x", "  - b"])
    unused = "accepted_differences.yml: jobs.x does not differ in a; remove the entry\n"
    assert drift(build, DONE) == (0, "none\n", unused)


def test_drift_is_not_searched_with_a_list_that_cannot_be_read(build: Build) -> None:
    build.accept("- jobs.x\n")
    code, printed, error = drift(build, LASTING)
    assert (code, printed) == (1, "")
    assert error.startswith("plan.py: plan.json: accepted_differences.yml: entry 1 must have")


# ---- One wheel -----------------------------------------------------------------------------------


def two(folder: Path) -> None:
    make_wheel(folder / "b-1-py3-none-any.whl", "b.py")


def none(folder: Path) -> None:
    (folder / "a-1-py3-none-any.whl").unlink()


def empty(folder: Path) -> None:
    make_wheel(folder / "a-1-py3-none-any.whl", "a-1.dist-info/METADATA")


def damaged(folder: Path) -> None:
    (folder / "a-1-py3-none-any.whl").write_text("")


WHEELS = {
    two: "a release has one wheel, dist/ has 2 (a-1-py3-none-any.whl, b-1-py3-none-any.whl);"
    " make build makes exactly one\n",
    none: "dist/ has 0 (none)",
    empty: "a-1-py3-none-any.whl holds no code; in pyproject.toml,"
    " tool.hatch.build.targets.wheel must name a package that exists\n",
    damaged: "a-1-py3-none-any.whl cannot be read",
}


@pytest.mark.parametrize("change", WHEELS)
def test_without_one_wheel_nothing_is_deployed(build: Build, change) -> None:
    change(build.root / "dist")
    code, log = build.deploy(NEW, NEW, DONE)
    assert (code, build.deployments) == (1, [])
    assert WHEELS[change] in log and len(log.splitlines()) == 1


@pytest.mark.parametrize("change", WHEELS)
def test_a_build_stops_right_after_such_a_wheel_was_built(build: Build, change) -> None:
    step = [sys.executable, "-B", STEPS / "wheels.py"]
    good = subprocess.run(step, cwd=build.root, capture_output=True, text=True)
    assert (good.returncode, good.stderr) == (0, "")
    change(build.root / "dist")
    result = subprocess.run(step, cwd=build.root, capture_output=True, text=True)
    assert result.returncode == 1
    assert WHEELS[change] in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_package_folder_that_does_not_exist_builds_an_empty_wheel(
    default: Path, tmp_path: Path
) -> None:
    tree = shutil.copytree(default, tmp_path / "tree")
    project = tree / "pyproject.toml"
    edited = project.read_text().replace('"src/my_data_project"', '"src/my_data_projekt"')
    assert edited != project.read_text()
    project.write_text(edited)
    subprocess.run(["uv", "build", "--quiet", "--wheel"], cwd=tree, check=True)
    (file,) = (tree / "dist").glob("*.whl")
    wheels = load("wheels")
    with pytest.raises(wheels.Unusable, match="holds no code"):
        wheels.only(str(file.parent))
