"""Deletes what this repository has deployed: the bundles in qa and prod, then the stack."""

import os
import sys
import time
from typing import NoReturn

import aws_stack
from botocore.exceptions import ClientError, WaiterError

BUILDSPEC = "cicd/buildspecs/destroy.yml"
BUILDS = {"qa": "QaBuild", "prod": "ProdBuild"}  # logical IDs in cicd/stack.yml
BUCKETS = ("ArtifactBucket", "LogBucket")


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
    """Exits while a stage is at work; then lets no push start another deployment."""
    stages = []
    if "Pipeline" in found:
        codepipeline = aws_stack.client("codepipeline")
        stages = codepipeline.get_pipeline_state(name=found["Pipeline"])["stageStates"]
    for stage in stages:
        latest = stage.get("latestExecution", {})
        if latest.get("status") == "InProgress":
            sys.exit(
                f"destroy.py: {stage['stageName']} is at work or waits for an approval; nothing is"
                " deleted. Wait, or reject it (make reject), and call make destroy again"
            )
    if "PushRule" in found:
        aws_stack.client("events").disable_rule(Name=found["PushRule"])


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


def destroy_bundles(found: dict[str, str]) -> None:
    """Deletes the deployment of every target that the pipeline has ever deployed to."""
    for target, name in BUILDS.items():
        if "Pipeline" in found and name not in found:
            give_up(target, f"the stack has no {name}; if it was renamed, change BUILDS too")
        given = last_source(found["Pipeline"], found[name]) if "Pipeline" in found else None
        if given is None:
            print(f"{target}: nothing was ever deployed")
        else:
            destroy_bundle(found[name], target, *given)


def empty(bucket: str) -> None:
    """Deletes every version and every delete marker of a bucket."""
    s3 = aws_stack.client("s3")
    count = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        if found:
            keys = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
            errors = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            for error in errors.get("Errors", []):
                sys.exit(f"destroy.py: {bucket}/{error['Key']} stays: {error['Message']}")
            count += len(found)
            print(f"\r{bucket}: {count} versions deleted", end="", flush=True)
    print(f"\r{bucket}: empty" + " " * 30)


def delete_stack(buckets: list[str]) -> None:
    """Empties the buckets and deletes the stack; again when a late access log came in between."""
    cloudformation = aws_stack.client("cloudformation")
    for attempt in range(3):
        for bucket in buckets:
            try:
                # Without its access log, emptying one bucket does not fill the other.
                aws_stack.client("s3").put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
                empty(bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchBucket":
                    raise
        print(f"Deleting the stack {aws_stack.STACK} ...", flush=True)
        cloudformation.delete_stack(StackName=aws_stack.STACK)
        try:
            cloudformation.get_waiter("stack_delete_complete").wait(StackName=aws_stack.STACK)
            return
        except WaiterError as error:
            if attempt == 2:
                sys.exit(f"destroy.py: CloudFormation could not delete the stack: {error}")


def main() -> None:
    """Asks, deletes, and says what is left."""
    stack, region = aws_stack.STACK, os.environ["AWS_REGION"]
    status = aws_stack.status()
    if status is None:
        print(f"There is no stack {stack} in {region}: nothing to delete.")
        return
    found = aws_stack.resources()
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
            if "PushRule" in found:
                aws_stack.client("events").enable_rule(Name=found["PushRule"])
            raise
    # The stack knows the repository by its ID; its name is at the end of this address.
    repository = aws_stack.find_outputs().get("CodeCommitUrl", "(none)").rpartition("/")[2]
    delete_stack([found[name] for name in BUCKETS if name in found])
    print(
        "Deleted. What is left, for you to delete or keep:\n"
        f"  the CodeCommit repository {repository}:\n"
        f"    aws codecommit delete-repository --repository-name {repository}\n"
        "  the schemas in the catalogs that databricks.yml names, with what jobs wrote there\n"
{%- if cookiecutter.auth == "pat" %}
        "  the personal access tokens, to be revoked in their workspaces\n"
{%- elif cookiecutter.auth == "oauth-m2m" %}
        "  the service principals and their OAuth secrets\n"
{%- else %}
        "  the service principals and their federation policies\n"
{%- endif %}
        "The key is deleted in seven days; until then it can be restored."
    )


if __name__ == "__main__":
    aws_stack.run(main)
