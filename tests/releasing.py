"""What tests of releases share: what happens to production, and what is to be read of it."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from rehearsal import play
from rehearsal.aws.build import Build
from rehearsal.aws.execution import Execution
from rehearsing import APPROVED, workspace

Change = Callable[[play.Rehearsal], object]  # what somebody does to a rehearsal


def log(execution: Execution, name: str) -> str:
    """The log of the first build of a stage."""
    (stage,) = (stage for stage in execution.stages if stage.name == name)
    return stage.actions[0].build.log.read_text()


def drift(build: Build) -> tuple[str, str]:
    """What the build that looks for drift exports, and nothing else: a word and a sentence."""
    assert build.exported.keys() == {"DRIFT_STATUS", "DRIFT"}
    return build.exported["DRIFT_STATUS"], build.exported["DRIFT"]


def meanwhile(played: play.Rehearsal, happens: Change) -> None:
    """Lets something happen after the plan and before the approval."""

    def decide(execution, action):
        happens(played)
        return APPROVED

    played.pipeline.approvals.decide = decide


def approving(played: play.Rehearsal) -> list[str]:
    """Approves everything; returns the list that gets what the reviewer is shown each time."""
    shown: list[str] = []

    def decide(execution, action):
        shown.append(action.text)
        return APPROVED

    played.pipeline.approvals.decide = decide
    return shown


def state_file(played: play.Rehearsal) -> Path:
    """What the client knows of its deployment in production."""
    (file,) = workspace(played).glob("files/Workspace/Users/*/.bundle/*/prod/state/resources.json")
    return file


def another_deployment(played: play.Rehearsal) -> None:
    """Somebody else deploys: the state's serial moves on."""
    file = state_file(played)
    state = json.loads(file.read_text())
    file.write_text(json.dumps(state | {"serial": state["serial"] + 1}))


def artifact(played: play.Rehearsal, execution, name: str) -> dict[str, bytes]:
    """The files of an artifact."""
    bucket, key = execution.artifacts[name]
    body = played.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {file: archive.read(file) for file in archive.namelist()}


def put_plan(played: play.Rehearsal, execution, text: bytes) -> None:
    """Puts another plan into the place of an execution's."""
    bucket, key = execution.artifacts["Plan"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("plan.json", text)
    played.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=packed.getvalue())


def damage(played: play.Rehearsal) -> None:
    """The newest plan is cut short in the bucket."""
    execution = played.pipeline.executions[-1]
    files = artifact(played, execution, "Plan")
    put_plan(played, execution, files["plan.json"][:300])
