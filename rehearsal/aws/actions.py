"""The actions of a pipeline, each by its kind: what one does, and what it hands on."""

import json
import re
import secrets
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rehearsal.aws.account import Account
from rehearsal.aws.build import Build, BuildRequest, Location
from rehearsal.aws.codebuild import CodeBuild
from rehearsal.aws.execution import Action, ActionFailed, Approvals, Execution
from rehearsal.aws.stack import Properties

SOURCE_RIGHTS = ("GetBranch", "GetCommit", "UploadArchive", "GetUploadArchiveStatus")
VARIABLE = re.compile(r"#\{([^.}]+)\.([^}]+)\}")
LONGEST = 1000  # characters of each text of an approval, before its variables are filled in


@dataclass(frozen=True)
class Pipeline:
    """A pipeline as the stack declares it, and what its actions use."""

    account: Account
    codebuild: CodeBuild
    approvals: Approvals
    properties: Properties
    name: str
    arn: str
    role: str  # logical ID


Runner = Callable[[Pipeline, Execution, Action], None]


def run_source(pipeline: Pipeline, execution: Execution, action: Action) -> None:
    """Packs the commit, as CodeCommit hands it over: no history, no .git."""
    account, codecommit = pipeline.account, pipeline.account.codecommit
    for right in SOURCE_RIGHTS:
        account.authorizer.require(pipeline.role, f"codecommit:{right}", codecommit.arn)
    keys = account.assume(pipeline.role, "codepipeline.amazonaws.com", pipeline.arn)
    (output,) = output_locations(pipeline, action).items()
    name, location = output
    content = archive(pipeline, execution.commit)
    s3 = account.client("s3", keys)
    s3.put_object(Bucket=location.bucket, Key=location.key, Body=content)
    execution.artifacts[name] = action.outputs[name] = location
    execution.variables[action.namespace] = {
        "CommitId": execution.commit,
        "CommitMessage": codecommit.git("show", "-s", "--format=%B", execution.commit).strip(),
        "BranchName": action.configuration["BranchName"],
        "RepositoryName": action.configuration["RepositoryName"],
        "AuthorDate": codecommit.git("show", "-s", "--format=%aI", execution.commit).strip(),
        "CommitterDate": codecommit.git("show", "-s", "--format=%cI", execution.commit).strip(),
    }


def run_s3_source(pipeline: Pipeline, execution: Execution, action: Action) -> None:
    """Copies an object, with the pipeline's role. Raises ClientError."""
    configuration = action.configuration
    keys = pipeline.account.assume(pipeline.role, "codepipeline.amazonaws.com", pipeline.arn)
    s3 = pipeline.account.client("s3", keys)
    source = s3.get_object(Bucket=configuration["S3Bucket"], Key=configuration["S3ObjectKey"])
    for name, location in output_locations(pipeline, action).items():
        s3.put_object(Bucket=location.bucket, Key=location.key, Body=source["Body"].read())
        execution.artifacts[name] = action.outputs[name] = location


def archive(pipeline: Pipeline, commit: str) -> bytes:
    """A commit's files as a zip. Raises ActionFailed."""
    folder = str(pipeline.account.codecommit.folder)
    # Without compression: of a large file that is most of the time.
    command = ["git", "--git-dir", folder, "archive", "--format=zip", "-0", commit]
    result = subprocess.run(command, capture_output=True)
    if result.returncode:
        raise ActionFailed(f"no commit {commit}: {result.stderr.decode().strip()}")
    return result.stdout


def run_build(pipeline: Pipeline, execution: Execution, action: Action) -> None:
    """Starts a build and waits for it."""
    account, configuration = pipeline.account, action.configuration
    project = account.stack.logical("CodeBuild::Project", configuration["ProjectName"])
    for right in ("StartBuild", "BatchGetBuilds"):
        account.authorizer.require(pipeline.role, f"codebuild:{right}", account.stack.arn(project))
    action.inputs = input_locations(execution, action)
    # They become the execution's only if the build succeeds: a failed action has no output.
    outputs = output_locations(pipeline, action)
    request = BuildRequest(
        initiator=f"codepipeline/{pipeline.name}",
        variables=json.loads(configuration.get("EnvironmentVariables", "[]")),
        inputs=action.inputs,
        outputs=outputs,
    )

    def begun(build: Build) -> None:
        action.build = build

    build = pipeline.codebuild.run(project, request, begun)
    if build.status != "SUCCEEDED":
        raise ActionFailed(build.failure or build.status)
    action.outputs = outputs
    execution.artifacts |= outputs
    execution.variables[action.namespace] = build.exported


def run_approval(pipeline: Pipeline, execution: Execution, action: Action) -> None:
    """Asks, and fails unless the answer is Approved."""
    for name in ("CustomData", "ExternalEntityLink"):
        if len(str(action.declared.get("Configuration", {}).get(name, ""))) > LONGEST:
            raise ActionFailed(f"{name} is longer than {LONGEST} characters")
    if topic := action.configuration.get("NotificationArn"):
        pipeline.account.authorizer.require(pipeline.role, "sns:Publish", topic)
        pipeline.account.sns.mails.append(action.text)
    answer = pipeline.approvals.ask(execution, action)
    action.message = answer.reason
    if answer.status != "Approved":
        raise ActionFailed(f"{answer.status}: {answer.reason}")


RUNNERS: dict[str, Runner] = {
    "Source CodeCommit": run_source,
    "Source S3": run_s3_source,
    "Build CodeBuild": run_build,
    "Test CodeBuild": run_build,
    "Approval Manual": run_approval,
}


def input_locations(execution: Execution, action: Action) -> dict[str, Location]:
    """An action's input artifacts, the primary source first."""
    names = [artifact["Name"] for artifact in action.declared.get("InputArtifacts", [])]
    if primary := action.configuration.get("PrimarySource"):
        names.sort(key=lambda name: name != primary)
    return {name: execution.artifacts[name] for name in names}


def output_locations(pipeline: Pipeline, action: Action) -> dict[str, Location]:
    """Bucket and key for each output artifact, in CodePipeline's own manner."""
    bucket = pipeline.properties["ArtifactStore"]["Location"]
    return {
        artifact["Name"]: Location(bucket, artifact_key(pipeline.name, artifact["Name"]))
        for artifact in action.declared.get("OutputArtifacts", [])
    }


def artifact_key(pipeline: str, artifact: str) -> str:
    """A new key of an artifact."""
    return f"{pipeline[:20]}/{artifact[:10]}/{secrets.token_hex(4)[:7]}"


def fill_in(execution: Execution, configuration: dict[str, Any]) -> dict[str, Any]:
    """A configuration with each #{Namespace.NAME} filled in. Raises ActionFailed."""

    def value(match: re.Match[str]) -> str:
        variables = execution.variables.get(match[1], {})
        if match[2] not in variables:
            raise ActionFailed(f"#{{{match[1]}.{match[2]}}}: there is no such variable")
        return variables[match[2]]

    texts = {key: text for key, text in configuration.items() if isinstance(text, str)}
    return configuration | {key: VARIABLE.sub(value, text) for key, text in texts.items()}
