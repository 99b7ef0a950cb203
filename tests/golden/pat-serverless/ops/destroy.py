"""Deletes what this repository has deployed: the bundles in qa and prod, then the stack."""

import contextlib
import os
import sys
import time
from datetime import timedelta
from typing import NoReturn

import aws_stack
import logs
from botocore.exceptions import ClientError
from delete_stack import delete_stack

BUILDSPEC = "cicd/buildspecs/destroy.yml"
BUILDS = {"qa": "QaBuild", "prod": "ProdBuild"}  # logical IDs in cicd/stack.yml
HISTORY = timedelta(days=330)
BUCKETS = ("ArtifactBucket", "LogBucket")
RULES = ("PushRule", "DriftRule")  # nothing is deployed, nor looked for, while all is deleted


def last_source(pipeline: str, project: str) -> tuple[str, str] | None:
    """Bucket and key of the commit that the project's last good build, or its last, deployed."""
    details = aws_stack.client("codepipeline").get_paginator("list_action_executions")
    found = [
        item
        for page in details.paginate(pipelineName=pipeline)
        for item in page["actionExecutionDetails"]  # newest first
        if item["input"].get("configuration", {}).get("ProjectName") == project
    ]
    found.sort(key=lambda item: item.get("status") != "Succeeded")
    for item in found:
        for artifact in item["input"]["inputArtifacts"]:
            if artifact["name"] == "Source":
                return artifact["s3location"]["bucket"], artifact["s3location"]["key"]
    return None


def stop_pipeline(found: dict[str, str]) -> None:
    """Exits while a stage is at work; then lets no push start another deployment.

    Takes out of `found` what a creation or deletion that failed half-way has only named.
    """
    stages = []
    if "Pipeline" in found:
        codepipeline = aws_stack.client("codepipeline")
        try:
            stages = codepipeline.get_pipeline_state(name=found["Pipeline"])["stageStates"]
        except codepipeline.exceptions.PipelineNotFoundException:
            del found["Pipeline"]
    for stage in stages:
        latest = stage.get("latestExecution", {})
        if latest.get("status") in ("InProgress", "Stopping"):
            sys.exit(
                f"destroy.py: {stage['stageName']} is at work or waits for an approval; nothing is"
                " deleted. Wait, or reject it (make reject), and call make destroy again"
            )
    switch_rules(found, on=False)


def switch_rules(found: dict[str, str], on: bool) -> None:
    """Switches what starts deployments and looks for drift on or off, as far as it is there."""
    events = aws_stack.client("events")
    switch = events.enable_rule if on else events.disable_rule
    for rule in RULES:
        if rule in found:
            with contextlib.suppress(events.exceptions.ResourceNotFoundException):
                switch(Name=found[rule])


def give_up(target: str, why: str) -> NoReturn:
    """Exits while a deployment is left and the stack is still there to delete it with."""
    sys.exit(
        f"destroy.py: the deployment in {target} is not deleted, nor is the stack: {why}\n"
        "To leave the deployments as they are and go on: make destroy KEEP_DEPLOYMENTS=1"
    )


def destroy_bundle(project: str, target: str, bucket: str, key: str) -> None:
    """Runs `bundle destroy` as a build of the target's project, which owns the deployment."""
    source = f"destroy/{target}.zip"  # where no build may write
    try:
        aws_stack.client("s3").copy({"Bucket": bucket, "Key": key}, bucket, source)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
            raise
        expired = f"its sources have expired ({bucket}/{key}); let the pipeline deploy once more"
        give_up(target, expired)
    codebuild = aws_stack.client("codebuild")
    build = codebuild.start_build(
        projectName=project,
        sourceTypeOverride="S3",
        sourceLocationOverride=f"{bucket}/{source}",
        artifactsOverride={"type": "NO_ARTIFACTS"},
        buildspecOverride=BUILDSPEC,
        environmentVariablesOverride=[{"name": "TARGET", "value": target, "type": "PLAINTEXT"}],
    )["build"]
    print(f"{target}: deleting the deployment ", end="", flush=True)
    while build["buildStatus"] == "IN_PROGRESS":
        time.sleep(5)
        print(".", end="", flush=True)
        (build,) = codebuild.batch_get_builds(ids=[build["id"]])["builds"]
    print(f" {build['buildStatus']}")
    if build["buildStatus"] != "SUCCEEDED":
        give_up(target, f"its build's log says why: {build['logs'].get('deepLink', build['id'])}")


def is_destroyed(project: str) -> bool:
    """Whether the last thing that a target's project did was to delete the deployment."""
    return any(
        build["buildStatus"] == "SUCCEEDED" and build["source"].get("buildspec") == BUILDSPEC
        for build in logs.newest([project])
    )


def destroy_bundles(found: dict[str, str]) -> None:
    """Deletes the deployment of every target that the pipeline has ever deployed to."""
    for target, name in BUILDS.items():
        if "Pipeline" not in found:
            print(f"{target}: the stack has no pipeline; a deployment there, if any, stays")
        elif name not in found:
            give_up(target, f"the stack has no {name}; if it was renamed, change BUILDS too")
        elif is_destroyed(found[name]):
            print(f"{target}: the deployment is deleted already")
        elif given := last_source(found["Pipeline"], found[name]):
            destroy_bundle(found[name], target, *given)
        elif aws_stack.age() > HISTORY:
            give_up(target, "AWS keeps a pipeline's history for a year, and it has no deployment")
        else:
            print(f"{target}: nothing was ever deployed")


def main() -> None:
    """Asks, deletes, and says what is left."""
    stack, region = aws_stack.STACK, os.environ["AWS_REGION"]
    status = aws_stack.status()
    if status is None:
        print(f"There is no stack {stack} in {region}: nothing to delete.")
        return
    found = aws_stack.resources()
    # The stack knows the repository by its ID; its name is at the end of this address.
    repository = aws_stack.find_outputs().get("CodeCommitUrl", "").rpartition("/")[2]
    repository = repository or aws_stack.parameters().get("RepoName", "")
    print(
        f"This deletes the deployments in qa and prod, and the stack {stack} in {region}"
        f" ({status}).\nA pipeline's tables go with it; UNDROP brings them back for seven days."
    )
    if input(f"The stack's name, to go on ({stack}): ").strip() != stack:
        sys.exit("destroy.py: that is another name; nothing is deleted")
    stop_pipeline(found)
    if not os.environ.get("KEEP_DEPLOYMENTS"):
        try:
            destroy_bundles(found)
        except BaseException:  # the stack stays: let pushes start the pipeline again
            switch_rules(found, on=True)
            raise
    delete_stack([found[name] for name in BUCKETS if name in found])
    if not found:
        print("Deleted. It had no resources.")
        return
    print("Deleted. What is left, for you to delete or keep:")
    if "Repository" in found:
        print(
            f"  the CodeCommit repository {repository}:\n"
            f"    aws codecommit delete-repository --region {region} --repository-name {repository}"
        )
    print(
        "  the schemas in the catalogs that databricks.yml names, with what jobs wrote there\n"
        "  the personal access tokens, to be revoked in their workspaces\n"
        "The key is deleted in seven days; until then it can be restored."
    )


if __name__ == "__main__":
    aws_stack.run(main)
