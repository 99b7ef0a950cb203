"""Deletes what this repository has deployed: the bundles in qa and prod, then the stack."""

import contextlib
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from botocore.exceptions import ClientError, WaiterError

from cicd.steps.names import RUNNING, SOURCE
from ops import Stop, credentials
from ops.aws import Stack
from ops.builds import PROJECTS, Build, Builds
from ops.delivery import KEY
from ops.protect import holders, rule_template

BUILDSPEC = "cicd/buildspecs/destroy.yml"
TARGETS = ("qa", "prod")
HISTORY = timedelta(days=330)  # AWS keeps a pipeline's for a year
ATTEMPTS = 3
# Logical IDs in cicd/stack.yml.
BUCKETS = ("ArtifactBucket", "CicdBucket", "LogBucket")
RULES = ("PushRule", "DriftRule")
POLICIES = ("ReadPolicy", "DeveloperPolicy", "ReviewerPolicy", "OperatorPolicy")


class Deployments:
    """What the pipeline has deployed to the targets. Only who deployed it may delete it."""

    def __init__(self, stack: Stack, resources: dict[str, str]) -> None:
        self.stack, self.resources = stack, resources
        self.builds = Builds(stack)

    def delete(self, target: str) -> None:
        """Deletes a target's deployment, if the pipeline has ever made one."""
        if "Pipeline" not in self.resources:
            print(f"{target}: the stack has no pipeline; a deployment there, if any, stays")
            return
        build = PROJECTS[target]
        if build not in self.resources:
            what = f"the stack has no {build}"
            give_up(target, f"{what}; if it was renamed, change ops/builds.py too")
        if "CicdBucket" not in self.resources:
            give_up(target, "the stack is older than cicd/; bring it up first: make stack")
        project = self.resources[build]
        if self.is_deleted(project):
            print(f"{target}: the deployment is deleted already")
        elif source := self.last_source(project):
            self.run_destroy(target, project, source)
        elif datetime.now(UTC) - self.stack.description["CreationTime"] > HISTORY:
            give_up(target, "AWS keeps a pipeline's history for a year, and it has no deployment")
        else:
            print(f"{target}: nothing was ever deployed")

    def is_deleted(self, project: str) -> bool:
        """Whether the last thing that a target's project did was to delete the deployment."""
        return any(
            build["buildStatus"] == "SUCCEEDED" and build["source"].get("buildspec") == BUILDSPEC
            for build in self.builds.newest([project])
        )

    def last_source(self, project: str) -> dict[str, str] | None:
        """Bucket and key of the sources of the project's last good build, or of its last."""
        paginator = self.stack.client("codepipeline").get_paginator("list_action_executions")
        actions = [
            action
            for page in paginator.paginate(pipelineName=self.resources["Pipeline"])
            for action in page["actionExecutionDetails"]  # newest first
            if action["input"].get("configuration", {}).get("ProjectName") == project
        ]
        # The sort keeps the order, so that the newest good one comes first.
        actions.sort(key=lambda action: action.get("status") != "Succeeded")
        for action in actions:
            for artifact in action["input"]["inputArtifacts"]:
                if artifact["name"] == SOURCE:
                    return dict(artifact["s3location"])
        return None

    def run_destroy(self, target: str, project: str, source: dict[str, str]) -> None:
        """Runs `bundle destroy` as a build of the target's project, which owns the deployment."""
        bucket, key = source["bucket"], source["key"]
        copy = f"destroy/{target}.zip"  # where no build may write
        try:
            self.stack.client("s3").copy({"Bucket": bucket, "Key": key}, bucket, copy)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise
            expired = f"its sources have expired ({bucket}/{key})"
            give_up(target, f"{expired}; let the pipeline deploy once more")
        build: Build = self.builds.client.start_build(
            projectName=project,
            sourceTypeOverride="S3",
            sourceLocationOverride=f"{self.resources['CicdBucket']}/{KEY}",
            secondarySourcesOverride=[
                {"type": "S3", "location": f"{bucket}/{copy}", "sourceIdentifier": SOURCE}
            ],
            artifactsOverride={"type": "NO_ARTIFACTS"},
            buildspecOverride=BUILDSPEC,
            environmentVariablesOverride=[{"name": "TARGET", "value": target, "type": "PLAINTEXT"}],
        )["build"]
        print(f"{target}: deleting the deployment ", end="", flush=True)
        while build["buildStatus"] == "IN_PROGRESS":
            time.sleep(5)
            print(".", end="", flush=True)
            build = self.builds.refresh(build)
        print(f" {build['buildStatus']}")
        if build["buildStatus"] != "SUCCEEDED":
            log = build["logs"].get("deepLink", build["id"])
            give_up(target, f"its build's log says why: {log}")


def give_up(target: str, reason: str) -> NoReturn:
    """Raises Stop while a deployment is left and the stack is still there to delete it with."""
    raise Stop(
        f"the deployment in {target} is not deleted, nor is the stack: {reason}\n"
        "To leave the deployments as they are and go on: make destroy KEEP_DEPLOYMENTS=1"
    )


class Teardown:
    """A stack that is about to be deleted, with what it has and has deployed."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.resources = stack.resources()
        self.stages = self.find_stages()

    def find_stages(self) -> list[dict[str, Any]]:
        """The pipeline's stages; forgets a pipeline that a failed creation has only named."""
        if "Pipeline" not in self.resources:
            return []
        codepipeline = self.stack.client("codepipeline")
        try:
            state = codepipeline.get_pipeline_state(name=self.resources["Pipeline"])
        except codepipeline.exceptions.PipelineNotFoundException:
            del self.resources["Pipeline"]
            return []
        return list(state["stageStates"])

    @property
    def repository(self) -> str:
        """The CodeCommit repository's name, which the stack knows by its ID only."""
        url = self.stack.outputs.get("CodeCommitUrl", "")
        return url.rpartition("/")[2] or self.stack.parameters.get("RepoName", "")

    def check_idle(self) -> None:
        """Raises Stop while a stage is running or waits for an approval."""
        for stage in self.stages:
            status = stage.get("latestExecution", {}).get("status")
            if status in RUNNING:
                raise Stop(
                    f"{stage['stageName']} is running or waits for an approval; nothing is"
                    " deleted. Wait, or reject it (make reject), and call make destroy again"
                )

    def switch_rules(self, on: bool) -> None:
        """Switches the rules on or off, as far as they exist."""
        events = self.stack.client("events")
        switch = events.enable_rule if on else events.disable_rule
        for rule in RULES:
            if rule in self.resources:
                with contextlib.suppress(events.exceptions.ResourceNotFoundException):
                    switch(Name=self.resources[rule])

    def detach_policies(self) -> None:
        """Takes the stack's policies from whoever has them: IAM deletes none that is attached."""
        iam = self.stack.client("iam")
        detach = {
            "User": iam.detach_user_policy,
            "Group": iam.detach_group_policy,
            "Role": iam.detach_role_policy,
        }
        for policy in (self.resources[name] for name in POLICIES if name in self.resources):
            with contextlib.suppress(iam.exceptions.NoSuchEntityException):  # the policy is gone
                for kind, name in holders(iam, policy):
                    detach[kind](PolicyArn=policy, **{f"{kind}Name": name})
                    print(f"{policy.rpartition('/')[2]}: taken from the {kind.lower()} {name}")

    def delete_stack(self) -> None:
        """Empties the buckets and deletes the stack; again if an access log came in between."""
        cloudformation = self.stack.client("cloudformation")
        if self.stack.description.get("EnableTerminationProtection"):
            cloudformation.update_termination_protection(
                StackName=self.stack.name, EnableTerminationProtection=False
            )
        for attempt in range(1, ATTEMPTS + 1):
            for bucket in (self.resources[name] for name in BUCKETS if name in self.resources):
                self.empty(bucket)
            print(f"Deleting the stack {self.stack.name} ...", flush=True)
            cloudformation.delete_stack(StackName=self.stack.name)
            try:
                waiter = cloudformation.get_waiter("stack_delete_complete")
                waiter.wait(StackName=self.stack.name)
                return
            except WaiterError as error:
                if attempt == ATTEMPTS:
                    raise Stop(
                        f"CloudFormation could not delete the stack: {error}{self.stuck()}\n"
                        "Fix that, then make destroy again"
                    ) from None

    def empty(self, bucket: str) -> None:
        """Deletes every version and delete marker of a bucket, if the bucket exists."""
        s3, count = self.stack.client("s3"), 0
        try:
            # Without its access log, emptying one bucket does not fill the other.
            s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                versions = page.get("Versions", []) + page.get("DeleteMarkers", [])
                if not versions:
                    continue
                keys = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in versions]
                answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
                for error in answer.get("Errors", []):
                    raise Stop(f"{bucket}/{error['Key']} stays: {error['Message']}")
                count += len(versions)
                print(f"\r{bucket}: {count} versions deleted", end="", flush=True)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucket":
                raise
            return
        print(f"\r{bucket}: empty" + " " * 30)

    def stuck(self) -> str:
        """What CloudFormation could not delete, and why."""
        return "".join(
            f"\n  {item['LogicalResourceId']}: "
            + item.get("ResourceStatusReason", "no reason given")
            for item in self.stack.summaries()
            if item["ResourceStatus"] == "DELETE_FAILED"
        )

    def remaining(self) -> str:
        """What remains for the operator to delete or keep."""
        if not self.resources:
            return "Deleted. It had no resources."
        lines = ["Deleted. What is left, for you to delete or keep:"]
        if "Repository" in self.resources:
            region = f"--region {self.stack.region}"
            delete = f"aws codecommit delete-repository {region}"
            unprotect = f"aws codecommit delete-approval-rule-template {region}"
            lines += [
                f"  the CodeCommit repository {self.repository}:",
                f"    {delete} --repository-name {self.repository}",
                "  the rule that make protect made for its pull requests, if it was called:",
                f"    {unprotect} --approval-rule-template-name {rule_template(self.stack)}",
            ]
        lines += [
            "  the schemas in the catalogs that databricks.yml names, with what jobs wrote there",
            f"  {credentials.REMAINING}",
            "The key is deleted in seven days; until then it can be restored.",
        ]
        return "\n".join(lines)


def check_name(stack: Stack, yes: str) -> None:
    """Raises Stop unless a person names the stack: at the terminal, or with YES."""
    if not yes and not sys.stdin.isatty():
        raise Stop(
            "nothing is deleted: there is no terminal to ask at. To do it unasked, add"
            f" YES={stack.name}"
        )
    name = yes or input(f"Type the stack's name to continue ({stack.name}): ").strip()
    if name != stack.name:
        raise Stop("that is another name; nothing is deleted")


def destroy(stack: Stack, keep_deployments: bool, yes: str) -> None:
    """Asks, deletes, and says what is left."""
    if not stack.description:
        print(f"There is no stack {stack.name} in {stack.region}: nothing to delete.")
        return
    print(
        f"This deletes the deployments in qa and prod, and the stack {stack.name} in"
        f" {stack.region} ({stack.description['StackStatus']}).\n"
        "A pipeline's tables go with it; UNDROP brings them back for seven days.\n"
        "Who has one of the stack's policies loses it."
    )
    check_name(stack, yes)
    teardown = Teardown(stack)
    teardown.check_idle()
    teardown.switch_rules(on=False)  # so that no push deploys in between
    if not keep_deployments:
        try:
            deployments = Deployments(stack, teardown.resources)
            for target in TARGETS:
                deployments.delete(target)
        except BaseException:  # the stack stays, so let pushes start the pipeline again
            teardown.switch_rules(on=True)
            raise
    teardown.detach_policies()
    teardown.delete_stack()
    print(teardown.remaining())
