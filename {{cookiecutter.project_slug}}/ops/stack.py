"""`make stack`: shows what a change set would do, asks, executes it, and follows it to its end."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ops import ROOT, Stop
from ops.account import FIXES
from ops.aws import Stack, agreed, plain
from ops.delivery import upload
from ops.pipeline import Pipeline
from ops.project import STACK, Project, pin_on_first_use

SECONDS = 3.0  # between two requests
LONGEST = 51_200  # bytes of a template that CloudFormation takes in a request
TEMPLATE = "stack.yml"  # a longer one's key in the bucket
NO_CHANGE = ("didn't contain changes", "No updates are to be performed")
# CloudFormation's words for a change, by (Action, Replacement); what is not here is a change.
WORDS = {
    ("Remove", ""): "remove",
    ("Modify", "True"): "replace",
    ("Modify", "Conditional"): "perhaps replace",
    ("Add", ""): "add",
}
DANGEROUS = ("remove", "replace", "perhaps replace")


class Change(NamedTuple):
    """What a change set would do to a resource."""

    word: str
    resource: str
    kind: str
    properties: str

    def __str__(self) -> str:
        return f"  {self.word:<15}  {self.resource} ({self.kind})  {self.properties}".rstrip()


def read(item: dict[str, Any]) -> Change:
    """A change as CloudFormation describes it."""
    change = item["ResourceChange"]
    word = WORDS.get((change["Action"], change.get("Replacement", "")), "change")
    targets = [detail.get("Target", {}) for detail in change.get("Details", [])]
    names = sorted({target.get("Name") or target.get("Attribute", "") for target in targets})
    properties = ", ".join(filter(None, names))
    return Change(word, change["LogicalResourceId"], change["ResourceType"], properties)


class Deployment:
    """A stack that is about to be created or changed."""

    def __init__(self, stack: Stack, project: Project, tags: tuple[str, ...]) -> None:
        self.stack, self.parameters = stack, project.parameters
        self.tags = [tag.partition("=")[::2] for tag in tags]
        self.client = stack.client("cloudformation")
        state = stack.description.get("StackStatus", "")
        self.is_new = state in ("", "REVIEW_IN_PROGRESS")
        if (fix := FIXES.get(state, "make stack")) != "make stack":
            raise Stop(f"the stack is {state}: {fix.format(stack=stack.name)}")

    def propose(self) -> str:
        """Has CloudFormation work out the changes, and returns the change set's ARN."""
        parameters = self.parameters.items()
        answer = self.client.create_change_set(
            StackName=self.stack.name,
            ChangeSetName=f"make-stack-{time.time_ns()}",
            ChangeSetType="CREATE" if self.is_new else "UPDATE",
            **self.template(),
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": text} for key, text in parameters],
            Tags=[{"Key": key, "Value": value} for key, value in self.tags],
        )
        return str(answer["Id"])

    def template(self) -> dict[str, str]:
        """The template for CloudFormation: in the request, or in the stack's own bucket."""
        text = (ROOT / STACK).read_text(encoding="utf-8")
        if len(text.encode()) <= LONGEST:
            return {"TemplateBody": text}
        if self.is_new:
            raise Stop(
                f"{STACK} has more than {LONGEST:,} bytes, and a new stack has no bucket for it."
                " Create the stack from an earlier commit first"
            )
        s3, bucket = self.stack.client("s3"), self.stack.output("CicdBucketName")
        s3.put_object(Bucket=bucket, Key=TEMPLATE, Body=text.encode())
        return {"TemplateURL": f"{s3.meta.endpoint_url}/{bucket}/{TEMPLATE}"}

    def changes(self, change_set: str) -> list[Change]:
        """What a change set would do, once that is known. Raises Stop if it cannot be done."""
        print("Comparing ", end="", flush=True)
        while (page := self.describe(change_set))["Status"].endswith(("_PENDING", "_IN_PROGRESS")):
            print(".", end="", flush=True)
            time.sleep(SECONDS)
        print()
        if page["Status"] == "FAILED":
            reason = page.get("StatusReason", "CloudFormation gives no reason")
            if any(text in reason for text in NO_CHANGE):
                return []
            raise Stop(f"CloudFormation cannot change the stack: {plain(reason)}")
        items = page["Changes"]
        while token := page.get("NextToken"):
            page = self.describe(change_set, NextToken=token)
            items += page["Changes"]
        return sorted(map(read, items), key=lambda change: (change.word not in DANGEROUS, change))

    def describe(self, change_set: str, **more: str) -> dict[str, Any]:
        """A change set as it is now."""
        return dict(self.client.describe_change_set(ChangeSetName=change_set, **more))

    def delete(self, change_set: str) -> None:
        """Deletes a change set that is not executed."""
        self.client.delete_change_set(ChangeSetName=change_set)

    # ---- Execution

    def events(self, seen: set[str]) -> list[dict[str, Any]]:
        """The stack's events that were not seen yet, oldest first."""
        new: list[dict[str, Any]] = []
        paginator = self.client.get_paginator("describe_stack_events")
        for page in paginator.paginate(StackName=self.stack.name):
            events = [event for event in page["StackEvents"] if event["EventId"] not in seen]
            new += events
            if len(events) < len(page["StackEvents"]):
                break
        seen |= {event["EventId"] for event in new}
        return new[::-1]

    def execute(self, change_set: str) -> None:
        """Executes a change set and prints each resource that is done. Raises Stop on failure."""
        seen: set[str] = set()
        self.events(seen)
        self.client.execute_change_set(ChangeSetName=change_set)
        failures = []
        for event in self.follow(seen):
            state, resource = event["ResourceStatus"], event["LogicalResourceId"]
            reason = plain(event.get("ResourceStatusReason", ""))
            if state.endswith("_FAILED") and "cancelled" not in reason:
                failures.append(f"{resource}: {reason}")
            print(f"  {state:<15}  {resource}  {reason}".rstrip(), flush=True)
        if state not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            first = f" {failures[0]}" if failures else ""
            fix = FIXES.get(state, "fix that, then make stack").format(stack=self.stack.name)
            raise Stop(f"the stack is {state}.{first}\nThen: {fix}")

    def follow(self, seen: set[str]) -> Iterator[dict[str, Any]]:
        """Each event in which something has ended; the last one is the stack's own."""
        while True:
            for event in self.events(seen):
                if event["ResourceStatus"].endswith("_IN_PROGRESS"):
                    continue
                yield event
                if event["PhysicalResourceId"] == event["StackId"]:
                    return
            time.sleep(SECONDS)


def show(changes: list[Change], is_new: bool) -> None:
    """Prints what would happen; of a new stack, how much."""
    if is_new:
        print(f"This creates the stack. Resources: {len(changes)}.")
        return
    print("This changes the stack:")
    for change in changes:
        print(change)


def protect_from_deletion(stack: Stack) -> None:
    """Switches termination protection on once there is a release in production."""
    if stack.description.get("EnableTerminationProtection") or "PipelineName" not in stack.outputs:
        return
    if next(Pipeline(stack).releases(), None):
        stack.client("cloudformation").update_termination_protection(
            StackName=stack.name, EnableTerminationProtection=True
        )
        print("Production has a release: only make destroy deletes this stack from now on.")


def deploy(stack: Stack, project: Project, tags: tuple[str, ...], yes: str) -> None:
    """Creates the stack, or brings it to what cicd/ says."""
    deployment = Deployment(stack, project, tags)
    pin_on_first_use()
    change_set = deployment.propose()
    try:
        changes = deployment.changes(change_set)
        if changes:
            show(changes, deployment.is_new)
        if any(change.word in DANGEROUS for change in changes):
            agreed("Remove or replace that?", yes, "the stack is not changed")
    except BaseException:
        with contextlib.suppress(Exception):  # what stopped this says more
            deployment.delete(change_set)
        raise
    if changes:
        deployment.execute(change_set)
        print("The stack is as cicd/stack.yml says.")
    else:
        deployment.delete(change_set)
        print("Nothing to change: the stack is as cicd/stack.yml says.")
    stack.__dict__.pop("description", None)  # it has changed
    upload(stack)
    protect_from_deletion(stack)
